import { isShutOut } from './ask.ts';
import type { CarrierName, OfflineReason, Reason } from './feed.ts';

/*
 * Which carrier to use, decided from evidence alone. `step` is a pure function: what stands and one fact in, what shall
 * stand out. It opens nothing and sets no timer: its caller opens and closes connections until they are the `lines`
 * here, and comes back with `{fact: 'time'}` at `wakeAt`.
 *
 * main     the line that carries, or is to; the others only until it is proven
 * beside   a poll from the same cursor while main isn't proven, so that trying costs nobody a late message
 * probe    a better rung tried in the background, or main's successor, overlapping; takes over once it is proven
 */

/** How a line ended by itself. */
export type LineEnd =
  /** It closed, cleanly or torn, after it had answered; a clean end is a cut too. */
  | { readonly how: 'cut' }
  /** No answer at all. */
  | { readonly how: 'unreachable' }
  /** Something else than the service answered, perhaps asking for patience. */
  | { readonly how: 'foreign'; readonly retryMs?: number }
  /** The service said no; `isFinal`: for good. */
  | { readonly how: 'refused'; readonly code: string; readonly isFinal: boolean; readonly retryMs?: number }
  /** The service ended it; without `retryMs` for good. */
  | { readonly how: 'bye'; readonly code: string; readonly retryMs?: number };

export type Fact =
  | { readonly fact: 'start' | 'time' }
  | { readonly fact: 'hello'; readonly line: number; readonly heartbeatMs: number }
  /** Anything parsed; `isProof`: a heartbeat of a stream, or the answer of a poll. */
  | { readonly fact: 'heard'; readonly line: number; readonly isProof: boolean }
  | { readonly fact: 'ended'; readonly line: number; readonly end: LineEnd }
  /** A post of ours was accepted and main hasn't told it yet; or (`seen`) has told all of them. */
  | { readonly fact: 'posted' | 'seen' }
  /** The history changed under the cursor: only this line knows the new one. */
  | { readonly fact: 'rebased'; readonly line: number }
  /** Other rooms are to be read: every line is opened anew. */
  | { readonly fact: 'rooms' }
  | { readonly fact: 'wake'; readonly why: 'online' | 'shown' }
  | { readonly fact: 'rest'; readonly isHidden: boolean };

/** A connection that shall be open. */
export interface Line {
  readonly id: number;
  readonly rung: CarrierName;
  readonly openedAt: number;
  readonly helloAt?: number;
  readonly provenAt?: number;
  readonly heardAt: number;
  readonly heartbeatMs: number;
}

/** Why a rung is out of use, since when, until when it isn't tried, and how often that has been so. */
export interface Verdict {
  readonly reason: Reason;
  readonly at: number;
  readonly until: number;
  readonly times: number;
  /** It has worked again since; how often it failed is remembered a while. */
  readonly isLifted?: boolean;
}

export type Verdicts = { readonly [R in CarrierName]?: Verdict };

export interface Ladder {
  readonly rungs: readonly CarrierName[];
  readonly main?: Line | undefined;
  readonly beside?: Line | undefined;
  readonly probe?: Line | undefined;
  readonly verdicts: Verdicts;
  /** Rungs that failed since one was last proven: verdicts only once another proves that the network works. */
  readonly suspects: { readonly [R in CarrierName]?: Reason };
  /** When a poll is opened beside an unproven main. */
  readonly besideAt?: number | undefined;
  /** When main is opened again. */
  readonly retryAt?: number | undefined;
  readonly offline?: { readonly reason: OfflineReason; readonly isFinal: boolean } | undefined;
  /** Rounds in which no rung worked, in a row. */
  readonly failures: number;
  /** Since when, where there are any. */
  readonly failingSince?: number | undefined;
  /** Lines cut soon after they were opened, in a row. */
  readonly cuts: number;
  /** The ages, in ms, at which proven streams were last cut. */
  readonly cutAges: readonly number[];
  /** How long the streams that were cut in a quiet moment had been quiet, at last. */
  readonly quietTimes: readonly number[];
  /** The heartbeat to ask streams for, in ms; undefined: the service's own. */
  readonly heartbeatMs?: number | undefined;
  /** The same before anything was learnt. */
  readonly ownHeartbeatMs?: number | undefined;
  /** How long something on the way has asked to wait in this round. */
  readonly askedMs: number;
  readonly postedAt?: number | undefined;
  readonly isHidden: boolean;
  readonly nextId: number;
  readonly wakeAt: number;
}

// Durations are in milliseconds.
/** An unproven line gets a poll beside it after this. */
export const BESIDE_MS = 1000;
export const HELLO_MS = 3000;
/** The proving heartbeat comes 500 ms after `hello`; through anything that lets events pass singly, within this. */
export const PROOF_MS = 2500;
/** What arrives closer to `hello` than this came in one piece with it. */
export const SINGLY_MS = 50;
/** Heartbeat intervals without a word after which a line is mute. */
export const SILENCE = 2.5;
/** Own posts must come by within this; twice that, and the line is mute. */
export const OWN_POST_MS = 1500;
/** A stream cut before this is of no use, if it happens `maxCuts` times in a row. */
export const SHORT_LIFE_MS = 4000;
export const MAX_CUTS = 3;
/** A better rung is tried after this, then after twice as long, … */
export const CLIMB_MS = 60_000;
export const MAX_CLIMB_MS = 600_000;
/** A verdict is forgotten after this. */
export const MEMORY_MS = 600_000;
/** A line that carried for so long makes up for what failed on its rung before. */
export const FORGIVEN_MS = 300_000;
export const RETRY_MS = 500;
export const MAX_RETRY_MS = 30_000;
/** Longer than this nobody but the service is waited for. */
export const MAX_ASKED_MS = 120_000;
/** A timer that comes so late tells of a machine that slept: nothing is judged by its silence. */
export const SLEPT_MS = 5000;

/** What a stream that was cut at about the same age before is replaced at. */
const ROTATE = 0.7;
const SIMILAR = 0.75;
/** A line that was heard within so many heartbeats needs no looking after. */
const LIVELY = 1.2;
/** Each time that went well the age is taken to be a little greater, so that a limit that has gone is found out. */
const TRUST = 1.02;
const MIN_HEARTBEAT_MS = 2000;
const LONGEST_LEARNT_MS = 120_000;

type Draft = { -readonly [K in keyof Ladder]: Ladder[K] };

/** A ladder that hasn't been set up yet. `heartbeatMs`: what streams are asked for. */
export function ladderOf(
  rungs: readonly CarrierName[],
  { verdicts = {}, heartbeatMs }: { verdicts?: Verdicts; heartbeatMs?: number | undefined } = {},
): Ladder {
  return {
    rungs,
    verdicts,
    heartbeatMs,
    ownHeartbeatMs: heartbeatMs,
    quietTimes: [],
    askedMs: 0,
    suspects: {},
    failures: 0,
    cuts: 0,
    cutAges: [],
    isHidden: false,
    nextId: 1,
    wakeAt: Number.POSITIVE_INFINITY,
  };
}

const isPoll = (rung: CarrierName): boolean => rung.endsWith('poll');

/** What stands after a fact. `now` in ms on any steady clock, `random` from 0 to 1. */
export function step(ladder: Ladder, fact: Fact, now: number, random: () => number): Ladder {
  const next: Draft = { ...ladder };
  if (next.offline?.isFinal) {
    if (fact.fact !== 'start' && fact.fact !== 'rooms') return ladder;
    next.offline = undefined;
  }
  climb(next, fact, ladder.wakeAt, now, random);
  return next;
}

/** The line that is told by: proven main, else what runs beside it and has answered. */
export function carrying(ladder: Ladder): Line | undefined {
  return ladder.main?.provenAt !== undefined
    ? ladder.main
    : ladder.beside?.provenAt !== undefined
      ? ladder.beside
      : undefined;
}

/** The connections that shall be open. */
export function linesOf({ main, beside, probe }: Ladder): Line[] {
  return [main, beside, probe].filter((line) => line !== undefined);
}

export function lineOf(ladder: Ladder, id: number): Line | undefined {
  return linesOf(ladder).find((line) => line.id === id);
}

/** Why it isn't the first rung that carries. */
export function reasonOf({ rungs, verdicts, suspects }: Ladder, rung: CarrierName): Reason {
  if (rung === 'sse') return 'best';
  const first = rungs[0];
  if (first !== 'sse') return 'unavailable';
  return suspects.sse ?? verdicts.sse?.reason ?? 'best';
}

/** Takes a fact into a copy that nobody else has yet; what stood was due again at `dueAt`. */
function climb(l: Draft, fact: Fact, dueAt: number, now: number, random: () => number): void {
  function take(): void {
    switch (fact.fact) {
      case 'start':
        return begin();
      case 'time':
        return now - dueAt > SLEPT_MS ? look() : judge();
      case 'hello':
        return change(fact.line, {
          helloAt: now,
          heardAt: now,
          heartbeatMs: fact.heartbeatMs,
        });
      case 'heard':
        change(fact.line, { heardAt: now });
        if (fact.isProof) proven(fact.line);
        return;
      case 'ended':
        return ended(fact.line, fact.end);
      case 'posted':
        l.postedAt ??= now;
        return;
      case 'seen':
        l.postedAt = undefined;
        return;
      case 'rebased':
        if (l.main?.id !== fact.line) l.main = l.probe?.id === fact.line ? l.probe : again(l.main);
        if (l.beside?.id !== fact.line) l.beside = undefined;
        l.probe = undefined;
        return;
      case 'rooms':
        l.beside = l.probe = undefined;
        if (l.main) openMain(l.main.rung);
        else if (l.retryAt === undefined) begin();
        return;
      case 'wake':
        if (fact.why === 'online') {
          l.verdicts = {};
          unlearn();
        } else if (l.main?.provenAt !== undefined && now - l.main.heardAt < LIVELY * l.main.heartbeatMs) {
          return;
        }
        return look();
      case 'rest':
        l.isHidden = fact.isHidden;
        return;
      default:
        fact satisfies never;
    }
  }

  /** Sets the next time at which something is due. */
  function settle(): void {
    const main = l.main;
    if (l.besideAt !== undefined && l.besideAt <= now) openBeside();
    let due = Number.POSITIVE_INFINITY;
    const at = (time: number | undefined) => {
      if (time !== undefined && time < due) due = time;
    };
    at(l.retryAt);
    at(l.besideAt);
    at(main && deadlineOf(main));
    at(l.probe && deadlineOf(l.probe));
    if (main?.provenAt !== undefined && !isPoll(main.rung) && l.postedAt !== undefined) {
      const suspicious = l.postedAt + OWN_POST_MS;
      at(suspicious > now ? suspicious : l.postedAt + 2 * OWN_POST_MS);
    }
    if (main?.provenAt !== undefined && !l.probe && !l.isHidden) {
      at(rotateAt(main));
      at(nextClimb()?.at);
    }
    l.wakeAt = Math.max(due, now);
  }

  function begin(): void {
    l.retryAt = undefined;
    for (const rung of l.rungs) {
      const verdict = l.verdicts[rung];
      if (verdict && now - verdict.at > MEMORY_MS) rule(rung, undefined);
    }
    l.suspects = {};
    const rung = l.rungs.find((one) => !isBarred(one)) ?? l.rungs[l.rungs.length - 1];
    if (rung) openMain(rung);
  }

  function open(rung: CarrierName): Line {
    const heartbeatMs = l.heartbeatMs ?? 15_000;
    return { id: l.nextId++, rung, openedAt: now, heardAt: now, heartbeatMs };
  }

  function again(line: Line | undefined): Line | undefined {
    return line && open(line.rung);
  }

  function openMain(rung: CarrierName, besideMs = BESIDE_MS): void {
    l.retryAt = undefined;
    l.main = open(rung);
    l.besideAt = isPoll(rung) ? undefined : l.beside ? l.besideAt : now + besideMs;
    if (isPoll(rung)) l.beside = undefined;
  }

  function openBeside(): void {
    l.besideAt = undefined;
    if (!l.beside && l.rungs.some(isPoll)) l.beside = open('long-poll');
  }

  function change(id: number, change: Partial<Line>): void {
    for (const role of ['main', 'beside', 'probe'] as const) {
      const line = l[role];
      if (line?.id === id) l[role] = { ...line, ...change };
    }
  }

  function proven(id: number): void {
    const { helloAt = 0, provenAt } = lineOf(l, id) ?? {};
    const isFirst = provenAt === undefined;
    // Sent half a second after `hello`, a heartbeat that arrives together with it was held.
    if (isFirst && now - helloAt < SINGLY_MS)
      return l.main?.id === id ? failed(l.main, 'held') : failedProbe('held');
    if (isFirst) change(id, { provenAt: now });
    if (l.probe?.id === id) {
      if (l.probe.rung === l.main?.rung) l.cutAges = l.cutAges.map((age) => age * TRUST);
      l.main = l.probe;
      l.probe = undefined;
      l.postedAt = undefined;
    }
    if (l.main?.id === id) {
      l.beside = l.besideAt = l.offline = undefined;
      l.failures = l.askedMs = 0;
      l.failingSince = undefined;
      if (isFirst && l.postedAt !== undefined) l.postedAt = now;
      const verdict = l.verdicts[l.main.rung];
      if (verdict && !verdict.isLifted) rule(l.main.rung, { ...verdict, isLifted: true });
      convict();
    } else if (l.beside?.id === id) {
      l.offline = undefined;
      // Polls get through where main couldn't even be reached: it is the rung, not the network.
      if (l.retryAt !== undefined && l.main === undefined) nextRung();
    }
  }

  function rule(rung: CarrierName, verdict: Verdict | undefined): void {
    l.verdicts = { ...l.verdicts, [rung]: verdict };
  }

  function suspect(rung: CarrierName, reason: Reason): void {
    l.suspects = { ...l.suspects, [rung]: reason };
  }

  /** Suspects become verdicts. */
  function convict(): void {
    for (const rung of l.rungs) {
      const reason = l.suspects[rung];
      if (reason && rung !== l.main?.rung) condemn(rung, reason);
    }
    l.suspects = {};
  }

  function isBarred(rung: CarrierName): boolean {
    const verdict = l.verdicts[rung];
    return verdict !== undefined && !verdict.isLifted;
  }

  function condemn(rung: CarrierName, reason: Reason): void {
    const times = (l.verdicts[rung]?.times ?? 0) + 1;
    const pause = Math.min(MAX_CLIMB_MS, CLIMB_MS * 2 ** (times - 1)) * (0.8 + 0.4 * random());
    rule(rung, { reason, at: now, until: now + pause, times });
  }

  /** Judges every line by the time that has passed. */
  function judge(): void {
    if (l.retryAt !== undefined && l.retryAt <= now && !l.main) begin();
    if (l.probe && deadlineOf(l.probe) <= now) failedProbe('held');
    const main = l.main;
    if (!main) return;
    if (deadlineOf(main) <= now) {
      return failed(main, main.provenAt === undefined ? 'held' : 'mute');
    }
    if (main.provenAt === undefined) return;
    if (l.postedAt !== undefined && !isPoll(main.rung)) {
      if (now >= l.postedAt + 2 * OWN_POST_MS) return failed(main, 'mute');
      if (now >= l.postedAt + OWN_POST_MS) openBeside();
    }
    if (l.probe || l.isHidden) return;
    const better = nextClimb();
    if (rotateAt(main) <= now) l.probe = open(main.rung);
    else if (better && better.at <= now) l.probe = open(better.rung);
  }

  /** When a better rung is due, and which. Only a stream can be a better one. */
  function nextClimb(): { rung: CarrierName; at: number } | undefined {
    const { rungs, main, verdicts } = l;
    let best: { rung: CarrierName; at: number } | undefined;
    for (const rung of rungs.slice(0, main ? rungs.indexOf(main.rung) : 0)) {
      const at = isBarred(rung) ? (verdicts[rung]?.until ?? now) : now;
      if (!best || at < best.at) best = { rung, at };
    }
    return best;
  }

  /** When the stream is replaced, because streams like it were cut at some age before. */
  function rotateAt({ rung, openedAt }: Line): number {
    const limit = alike(l.cutAges);
    return limit === undefined || isPoll(rung) ? Number.POSITIVE_INFINITY : openedAt + ROTATE * limit;
  }

  /** What was learnt of one network isn't true of the next. */
  function unlearn(): void {
    l.cutAges = l.quietTimes = [];
    l.heartbeatMs = l.ownHeartbeatMs;
  }

  /** Nobody knows what happened meanwhile: a successor is tried at once, and a poll beside it asks as well. */
  function look(): void {
    l.failures = 0;
    l.failingSince = undefined;
    if (!l.main) {
      if (l.retryAt !== undefined) begin();
      l.besideAt = l.main && now;
      return;
    }
    if (now - (l.probe ?? l.main).openedAt < BESIDE_MS) return;
    const better = l.rungs.find((rung) => !isBarred(rung)) ?? l.main.rung;
    const rung = l.rungs.indexOf(better) < l.rungs.indexOf(l.main.rung) ? better : l.main.rung;
    if (l.main.provenAt === undefined) {
      openMain(rung, 0);
    } else {
      l.main = { ...l.main, heardAt: now };
      if (isPoll(rung)) {
        l.main = again(l.main);
      } else {
        l.probe = open(rung);
        if (!isPoll(l.main.rung)) openBeside();
      }
    }
  }

  function failedProbe(reason: Reason): void {
    if (l.probe && l.probe.rung !== l.main?.rung) condemn(l.probe.rung, reason);
    else l.cutAges = [];
    l.probe = undefined;
  }

  /** Main is of no use any more: the next rung from the same cursor. */
  function failed(main: Line, reason: Reason): void {
    suspect(main.rung, reason);
    l.postedAt = undefined;
    if (main.provenAt !== undefined && now - main.provenAt > FORGIVEN_MS) rule(main.rung, undefined);
    if (l.probe) {
      l.main = l.probe;
      l.probe = undefined;
      if (l.main.rung !== main.rung) return openBeside();
    }
    nextRung();
  }

  function nextRung(): void {
    const rung = l.rungs.find((one) => !l.suspects[one] && !isBarred(one));
    if (rung) {
      openMain(rung, 0);
      if (!isPoll(rung)) openBeside();
    } else {
      giveUp('blocked', backOff());
    }
  }

  /** No rung works: everything again, later. */
  function giveUp(reason: OfflineReason, waitMs: number): void {
    l.main = l.beside = l.probe = l.besideAt = l.postedAt = undefined;
    l.suspects = {};
    l.failures++;
    l.offline = { reason, isFinal: false };
    l.retryAt = now + Math.max(waitMs, Math.min(l.askedMs, MAX_ASKED_MS));
    l.askedMs = 0;
  }

  /**
   * At most half as long as it has been going on: what was away for a while isn't waited for as long again. That grows
   * exponentially, too. Full jitter: [paper] Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
   */
  function backOff(): number {
    l.failingSince ??= now;
    return random() * Math.min(MAX_RETRY_MS, Math.max(RETRY_MS, (now - l.failingSince) / 2));
  }

  function ended(id: number, end: LineEnd): void {
    const isMain = l.main?.id === id;
    if (!isMain && l.beside?.id !== id && l.probe?.id !== id) return;
    if ((end.how === 'refused' && end.isFinal) || (end.how === 'bye' && end.retryMs === undefined)) {
      l.main = l.beside = l.probe = l.besideAt = l.retryAt = l.postedAt = undefined;
      const reason = isShutOut(end.code) ? 'session_ended' : 'refused';
      l.offline = { reason, isFinal: true };
    } else if (l.probe?.id === id) {
      failedProbe(end.how === 'cut' ? 'cut' : 'refused');
    } else if (l.beside?.id === id) {
      endedBeside(end);
    } else if (l.main) {
      endedMain(l.main, end);
    }
  }

  function endedBeside(end: LineEnd): void {
    l.beside = undefined;
    if (end.how === 'foreign') l.askedMs = Math.max(l.askedMs, end.retryMs ?? 0);
    if (l.main) l.besideAt = now + BESIDE_MS;
    else if (l.retryAt !== undefined) giveUp(offlineReason(end), l.retryAt - now);
  }

  function endedMain(main: Line, end: LineEnd): void {
    l.main = undefined;
    switch (end.how) {
      case 'bye':
        if (l.probe) return promote();
        if (end.code === 'max_age') unlearn();
        // Ages are jittered by the service already.
        if (end.code === 'max_age' || end.code === 'not_confirmed') return openMain(main.rung);
        return wait(end.retryMs ?? 0);
      case 'refused':
        return giveUp('busy', (end.retryMs ?? 0) + backOff());
      case 'unreachable':
        if (l.probe) return promote();
        return unreached(main);
      case 'foreign':
        l.askedMs = Math.max(l.askedMs, end.retryMs ?? 0);
        return failed(main, 'refused');
      case 'cut':
        return cut(main);
      default:
        end satisfies never;
    }
  }

  function promote(): void {
    l.main = l.probe;
    l.probe = undefined;
    if (l.main?.provenAt === undefined) openBeside();
  }

  /** The service said when to come back. */
  function wait(ms: number): void {
    l.beside = l.probe = l.besideAt = l.postedAt = undefined;
    l.offline = { reason: 'busy', isFinal: false };
    l.retryAt = now + ms;
  }

  /** Whether it is the rung or the network, a poll will tell. A poll that isn't answered has told. */
  function unreached(main: Line): void {
    const waitMs = backOff();
    if (isPoll(main.rung) || !l.rungs.some(isPoll)) return giveUp('unreachable', waitMs);
    if (l.beside?.provenAt !== undefined) return failed(main, 'refused');
    suspect(main.rung, 'refused');
    l.failures++;
    l.retryAt = now + waitMs;
    if (l.failures > 1) l.offline = { reason: 'unreachable', isFinal: false };
    openBeside();
  }

  /** Cut: the same rung at once, from the cursor; with patience and a poll beside it if it happens again and again. */
  function cut(main: Line): void {
    if (isPoll(main.rung)) return failed(main, 'cut');
    const age = now - main.openedAt;
    const isUseful = main.provenAt !== undefined && age >= SHORT_LIFE_MS;
    l.cuts = isUseful ? 0 : l.cuts + 1;
    if (l.cuts >= MAX_CUTS) {
      l.cuts = 0;
      return failed(main, 'cut');
    }
    if (isUseful) learn(main, age);
    if (l.probe) return promote();
    openMain(main.rung, isUseful ? BESIDE_MS : 0);
  }

  function learn(main: Line, age: number): void {
    const quiet = now - main.heardAt;
    if (age <= LONGEST_LEARNT_MS) l.cutAges = [...l.cutAges.slice(-1), age];
    if (quiet < MIN_HEARTBEAT_MS / 2) return;
    l.quietTimes = [...l.quietTimes.slice(-1), quiet];
    // Cut in a quiet moment, again and after as long: for being idle. More heartbeats keep it from that.
    const idleMs = alike(l.quietTimes);
    if (idleMs !== undefined)
      l.heartbeatMs = Math.max(MIN_HEARTBEAT_MS, Math.min(l.heartbeatMs ?? main.heartbeatMs, idleMs / 2));
  }

  take();
  settle();
}

/** The lesser of two times that are about the same; undefined for others. */
function alike([a = 0, b = 0]: readonly number[]): number | undefined {
  const least = Math.min(a, b);
  return least > 0 && least >= SIMILAR * Math.max(a, b) ? least : undefined;
}

/** By when a line must have brought something. A poll has timers of its own. */
function deadlineOf(line: Line): number {
  if (isPoll(line.rung)) return Number.POSITIVE_INFINITY;
  if (line.provenAt !== undefined) return line.heardAt + SILENCE * line.heartbeatMs;
  return line.helloAt === undefined ? line.openedAt + HELLO_MS : line.helloAt + PROOF_MS;
}

function offlineReason(end: LineEnd): OfflineReason {
  return end.how === 'foreign' ? 'blocked' : end.how === 'refused' ? 'busy' : 'unreachable';
}
