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
  /** Something else than the service answered. */
  | { readonly how: 'foreign' }
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
  /** Lines cut soon after they were opened, in a row. */
  readonly cuts: number;
  /** The ages, in ms, at which proven streams were last cut. */
  readonly cutAges: readonly number[];
  /** The heartbeat to ask streams for, in ms; undefined: the service's own. */
  readonly heartbeatMs?: number | undefined;
  readonly postedAt?: number | undefined;
  readonly isHidden: boolean;
  readonly nextId: number;
  readonly wakeAt: number;
}

/** Durations in milliseconds, each with its reason in the design's part on the ladder. */
export const PACE = {
  /** An unproven line gets a poll beside it after this. */
  besideMs: 1000,
  helloMs: 3000,
  /** The proving heartbeat comes 500 ms after `hello`; through anything that lets events pass singly, within this. */
  proofMs: 2500,
  /** Heartbeat intervals without a word after which a line is mute. */
  silence: 2.5,
  /** Own posts must come by within this; twice that, and the line is mute. */
  ownPostMs: 1500,
  /** A stream cut before this is of no use, if it happens `maxCuts` times in a row. */
  shortLifeMs: 4000,
  maxCuts: 3,
  /** A better rung is tried after this, then after twice as long, … */
  climbMs: 60_000,
  maxClimbMs: 600_000,
  /** A verdict is forgotten after this. */
  memoryMs: 600_000,
  /** A line that carried for so long makes up for what failed on its rung before. */
  forgivenMs: 300_000,
  retryMs: 500,
  maxRetryMs: 30_000,
  /** A timer that comes so late tells of a machine that slept: nothing is judged by its silence. */
  sleptMs: 5000,
};

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
  if (next.offline?.isFinal) return ladder;
  const climb = new Climb(next, now, random);
  climb.take(fact, ladder.wakeAt);
  climb.settle();
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

/** Why it isn't the first rung that carries. */
export function reasonOf({ rungs, verdicts, suspects }: Ladder, rung: CarrierName): Reason {
  if (rung === 'sse') return 'best';
  const first = rungs[0];
  if (first !== 'sse') return 'unavailable';
  return suspects.sse ?? verdicts.sse?.reason ?? 'best';
}

/** One step under way: works on a copy that nobody else has yet. */
class Climb {
  readonly #l: Draft;
  readonly #now: number;
  readonly #random: () => number;

  constructor(ladder: Draft, now: number, random: () => number) {
    this.#l = ladder;
    this.#now = now;
    this.#random = random;
  }

  take(fact: Fact, dueAt: number): void {
    const l = this.#l;
    switch (fact.fact) {
      case 'start':
        return this.#begin();
      case 'time':
        return this.#now - dueAt > PACE.sleptMs ? this.#look() : this.#judge();
      case 'hello':
        return this.#change(fact.line, {
          helloAt: this.#now,
          heardAt: this.#now,
          heartbeatMs: fact.heartbeatMs,
        });
      case 'heard':
        this.#change(fact.line, { heardAt: this.#now });
        if (fact.isProof) this.#proven(fact.line);
        return;
      case 'ended':
        return this.#ended(fact.line, fact.end);
      case 'posted':
        l.postedAt ??= this.#now;
        return;
      case 'seen':
        l.postedAt = undefined;
        return;
      case 'rebased':
        if (l.main?.id !== fact.line) l.main = l.probe?.id === fact.line ? l.probe : this.#again(l.main);
        if (l.beside?.id !== fact.line) l.beside = undefined;
        l.probe = undefined;
        return;
      case 'rooms':
        l.main = this.#again(l.main);
        l.beside = l.probe = undefined;
        l.besideAt = l.main && this.#now + PACE.besideMs;
        return;
      case 'wake':
        if (fact.why === 'online') {
          l.verdicts = {};
          l.cutAges = [];
        } else if (
          l.main?.provenAt !== undefined &&
          this.#now - l.main.heardAt < LIVELY * l.main.heartbeatMs
        ) {
          return;
        }
        return this.#look();
      case 'rest':
        l.isHidden = fact.isHidden;
        return;
      default:
        fact satisfies never;
    }
  }

  /** Sets the next time at which something is due. */
  settle(): void {
    const l = this.#l;
    const main = l.main;
    if (l.besideAt !== undefined && l.besideAt <= this.#now) this.#openBeside();
    let due = Number.POSITIVE_INFINITY;
    const at = (time: number | undefined) => {
      if (time !== undefined && time < due) due = time;
    };
    at(l.retryAt);
    at(l.besideAt);
    at(main && deadlineOf(main));
    at(l.probe && deadlineOf(l.probe));
    if (main?.provenAt !== undefined && !isPoll(main.rung) && l.postedAt !== undefined) {
      const suspicious = l.postedAt + PACE.ownPostMs;
      at(suspicious > this.#now ? suspicious : l.postedAt + 2 * PACE.ownPostMs);
    }
    if (main?.provenAt !== undefined && !l.probe && !l.isHidden) {
      at(this.#rotateAt(main));
      at(this.#climb()?.at);
    }
    l.wakeAt = Math.max(due, this.#now);
  }

  #begin(): void {
    const l = this.#l;
    l.retryAt = undefined;
    for (const rung of l.rungs) {
      const verdict = l.verdicts[rung];
      if (verdict && this.#now - verdict.at > PACE.memoryMs)
        l.verdicts = { ...l.verdicts, [rung]: undefined };
    }
    l.suspects = {};
    const rung = l.rungs.find((one) => !this.#isBarred(one)) ?? l.rungs[l.rungs.length - 1];
    if (rung) this.#openMain(rung);
  }

  #open(rung: CarrierName): Line {
    const l = this.#l;
    const heartbeatMs = l.heartbeatMs ?? 15_000;
    return { id: l.nextId++, rung, openedAt: this.#now, heardAt: this.#now, heartbeatMs };
  }

  #again(line: Line | undefined): Line | undefined {
    return line && this.#open(line.rung);
  }

  #openMain(rung: CarrierName, besideMs = PACE.besideMs): void {
    const l = this.#l;
    l.retryAt = undefined;
    l.main = this.#open(rung);
    l.besideAt = isPoll(rung) ? undefined : l.beside ? l.besideAt : this.#now + besideMs;
    if (isPoll(rung)) l.beside = undefined;
  }

  #openBeside(): void {
    const l = this.#l;
    l.besideAt = undefined;
    if (!l.beside && l.rungs.some(isPoll)) l.beside = this.#open('long-poll');
  }

  #change(id: number, change: Partial<Line>): void {
    for (const role of ['main', 'beside', 'probe'] as const) {
      const line = this.#l[role];
      if (line?.id === id) this.#l[role] = { ...line, ...change };
    }
  }

  #proven(id: number): void {
    const l = this.#l;
    const isFirst = this.#lineOf(id)?.provenAt === undefined;
    if (isFirst) this.#change(id, { provenAt: this.#now });
    if (l.probe?.id === id) {
      if (l.probe.rung === l.main?.rung) l.cutAges = l.cutAges.map((age) => age * TRUST);
      l.main = l.probe;
      l.probe = undefined;
      l.postedAt = undefined;
    }
    if (l.main?.id === id) {
      l.beside = l.besideAt = l.offline = undefined;
      l.failures = 0;
      if (isFirst && l.postedAt !== undefined) l.postedAt = this.#now;
      const verdict = l.verdicts[l.main.rung];
      if (verdict && !verdict.isLifted)
        l.verdicts = { ...l.verdicts, [l.main.rung]: { ...verdict, isLifted: true } };
      this.#convict();
    } else if (l.beside?.id === id) {
      l.offline = undefined;
      // Polls get through where main couldn't even be reached: it is the rung, not the network.
      if (l.retryAt !== undefined && l.main === undefined) this.#nextRung();
    }
  }

  #lineOf(id: number): Line | undefined {
    const { main, beside, probe } = this.#l;
    return [main, beside, probe].find((line) => line?.id === id);
  }

  /** Suspects become verdicts. */
  #convict(): void {
    const l = this.#l;
    for (const rung of l.rungs) {
      const reason = l.suspects[rung];
      if (reason && rung !== l.main?.rung) this.#condemn(rung, reason);
    }
    l.suspects = {};
  }

  #isBarred(rung: CarrierName): boolean {
    const verdict = this.#l.verdicts[rung];
    return verdict !== undefined && !verdict.isLifted;
  }

  #condemn(rung: CarrierName, reason: Reason): void {
    const l = this.#l;
    const times = (l.verdicts[rung]?.times ?? 0) + 1;
    const pause = Math.min(PACE.maxClimbMs, PACE.climbMs * 2 ** (times - 1)) * (0.8 + 0.4 * this.#random());
    l.verdicts = { ...l.verdicts, [rung]: { reason, at: this.#now, until: this.#now + pause, times } };
  }

  /** Judges every line by the time that has passed. */
  #judge(): void {
    const l = this.#l;
    if (l.retryAt !== undefined && l.retryAt <= this.#now && !l.main) this.#begin();
    if (l.probe && deadlineOf(l.probe) <= this.#now) this.#failedProbe('held');
    const main = l.main;
    if (!main) return;
    if (deadlineOf(main) <= this.#now) {
      return this.#failed(main, main.provenAt === undefined ? 'held' : 'mute');
    }
    if (main.provenAt === undefined) return;
    if (l.postedAt !== undefined && !isPoll(main.rung)) {
      if (this.#now >= l.postedAt + 2 * PACE.ownPostMs) return this.#failed(main, 'mute');
      if (this.#now >= l.postedAt + PACE.ownPostMs) this.#openBeside();
    }
    if (l.probe || l.isHidden) return;
    const climb = this.#climb();
    if (this.#rotateAt(main) <= this.#now) l.probe = this.#open(main.rung);
    else if (climb && climb.at <= this.#now) l.probe = this.#open(climb.rung);
  }

  /** When a better rung is due, and which. Only a stream can be a better one. */
  #climb(): { rung: CarrierName; at: number } | undefined {
    const { rungs, main, verdicts } = this.#l;
    let best: { rung: CarrierName; at: number } | undefined;
    for (const rung of rungs.slice(0, main ? rungs.indexOf(main.rung) : 0)) {
      const at = this.#isBarred(rung) ? (verdicts[rung]?.until ?? this.#now) : this.#now;
      if (!best || at < best.at) best = { rung, at };
    }
    return best;
  }

  /** When the stream is replaced, because streams like it were cut at some age before. */
  #rotateAt({ rung, openedAt }: Line): number {
    const { cutAges } = this.#l;
    const [a = 0, b = 0] = cutAges;
    const least = Math.min(a, b);
    const isLimit = least > 0 && least >= SIMILAR * Math.max(a, b);
    return isLimit && !isPoll(rung) ? openedAt + ROTATE * least : Number.POSITIVE_INFINITY;
  }

  /** Nobody knows what happened meanwhile: a successor is tried at once, and a poll beside it asks as well. */
  #look(): void {
    const l = this.#l;
    l.failures = 0;
    if (!l.main) {
      if (l.retryAt !== undefined) this.#begin();
      l.besideAt = l.main && this.#now;
      return;
    }
    const better = l.rungs.find((rung) => !this.#isBarred(rung)) ?? l.main.rung;
    const rung = l.rungs.indexOf(better) < l.rungs.indexOf(l.main.rung) ? better : l.main.rung;
    if (l.main.provenAt === undefined) {
      this.#openMain(rung, 0);
    } else {
      l.main = { ...l.main, heardAt: this.#now };
      if (isPoll(rung)) l.main = this.#again(l.main);
      else l.probe = this.#open(rung);
      this.#openBeside();
    }
  }

  #failedProbe(reason: Reason): void {
    const l = this.#l;
    if (l.probe && l.probe.rung !== l.main?.rung) this.#condemn(l.probe.rung, reason);
    else l.cutAges = [];
    l.probe = undefined;
  }

  /** Main is of no use any more: the next rung from the same cursor. */
  #failed(main: Line, reason: Reason): void {
    const l = this.#l;
    l.suspects = { ...l.suspects, [main.rung]: reason };
    l.postedAt = undefined;
    if (main.provenAt !== undefined && this.#now - main.provenAt > PACE.forgivenMs)
      l.verdicts = { ...l.verdicts, [main.rung]: undefined };
    if (l.probe) {
      l.main = l.probe;
      l.probe = undefined;
      if (l.main.rung !== main.rung) return this.#openBeside();
    }
    this.#nextRung();
  }

  #nextRung(): void {
    const l = this.#l;
    const rung = l.rungs.find((one) => !l.suspects[one] && !this.#isBarred(one));
    if (rung) {
      this.#openMain(rung, 0);
      if (!isPoll(rung)) this.#openBeside();
    } else {
      this.#giveUp('blocked', this.#backOff());
    }
  }

  /** No rung works: everything again, later. */
  #giveUp(reason: OfflineReason, waitMs: number): void {
    const l = this.#l;
    l.main = l.beside = l.probe = l.besideAt = l.postedAt = undefined;
    l.suspects = {};
    l.failures++;
    l.offline = { reason, isFinal: false };
    l.retryAt = this.#now + waitMs;
  }

  /** Full jitter. [paper] Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. */
  #backOff(): number {
    return this.#random() * Math.min(PACE.maxRetryMs, PACE.retryMs * 2 ** this.#l.failures);
  }

  #ended(id: number, end: LineEnd): void {
    const l = this.#l;
    const isMain = l.main?.id === id;
    if (!isMain && l.beside?.id !== id && l.probe?.id !== id) return;
    if ((end.how === 'refused' && end.isFinal) || (end.how === 'bye' && end.retryMs === undefined)) {
      l.main = l.beside = l.probe = l.besideAt = l.retryAt = l.postedAt = undefined;
      const reason = end.code === 'no_session' || end.code === 'session_ended' ? 'session_ended' : 'refused';
      l.offline = { reason, isFinal: true };
    } else if (l.probe?.id === id) {
      this.#failedProbe(end.how === 'cut' ? 'cut' : 'refused');
    } else if (l.beside?.id === id) {
      this.#endedBeside(end);
    } else if (l.main) {
      this.#endedMain(l.main, end);
    }
  }

  #endedBeside(end: LineEnd): void {
    const l = this.#l;
    l.beside = undefined;
    if (l.main) l.besideAt = this.#now + PACE.besideMs;
    else if (l.retryAt !== undefined) this.#giveUp(offlineReason(end), l.retryAt - this.#now);
  }

  #endedMain(main: Line, end: LineEnd): void {
    const l = this.#l;
    l.main = undefined;
    switch (end.how) {
      case 'bye':
        if (l.probe) return this.#promote();
        // Ages are jittered by the service already.
        if (end.code === 'max_age' || end.code === 'not_confirmed') return this.#openMain(main.rung);
        return this.#wait(end.retryMs ?? 0, end.code === 'unavailable' ? 'busy' : undefined);
      case 'refused':
        return this.#giveUp('busy', (end.retryMs ?? 0) + this.#backOff());
      case 'unreachable':
        if (l.probe) return this.#promote();
        return this.#unreached(main);
      case 'foreign':
        return this.#failed(main, 'refused');
      case 'cut':
        return this.#cut(main);
      default:
        end satisfies never;
    }
  }

  #promote(): void {
    const l = this.#l;
    l.main = l.probe;
    l.probe = undefined;
    if (l.main?.provenAt === undefined) this.#openBeside();
  }

  #wait(ms: number, reason: OfflineReason | undefined): void {
    const l = this.#l;
    l.beside = l.probe = l.besideAt = l.postedAt = undefined;
    if (reason) l.offline = { reason, isFinal: false };
    l.retryAt = this.#now + ms;
  }

  /** Whether it is the rung or the network, a poll will tell. A poll that isn't answered has told. */
  #unreached(main: Line): void {
    const l = this.#l;
    const backOff = this.#backOff();
    if (isPoll(main.rung) || !l.rungs.some(isPoll)) return this.#giveUp('unreachable', backOff);
    if (l.beside?.provenAt !== undefined) return this.#failed(main, 'refused');
    l.suspects = { ...l.suspects, [main.rung]: 'refused' };
    l.failures++;
    l.retryAt = this.#now + backOff;
    if (l.failures > 1) l.offline = { reason: 'unreachable', isFinal: false };
    this.#openBeside();
  }

  /** Cut: the same rung at once, from the cursor; with patience and a poll beside it if it happens again and again. */
  #cut(main: Line): void {
    const l = this.#l;
    if (isPoll(main.rung)) return this.#failed(main, 'cut');
    const age = this.#now - main.openedAt;
    const isUseful = main.provenAt !== undefined && age >= PACE.shortLifeMs;
    l.cuts = isUseful ? 0 : l.cuts + 1;
    if (l.cuts >= PACE.maxCuts) {
      l.cuts = 0;
      return this.#failed(main, 'cut');
    }
    if (isUseful) this.#learn(main, age);
    if (l.probe) return this.#promote();
    this.#openMain(main.rung, isUseful ? PACE.besideMs : 0);
  }

  #learn(main: Line, age: number): void {
    const l = this.#l;
    const quiet = this.#now - main.heardAt;
    if (age <= LONGEST_LEARNT_MS) l.cutAges = [...l.cutAges.slice(-1), age];
    // Cut in a quiet moment: perhaps for being idle. More heartbeats tell.
    if (quiet > MIN_HEARTBEAT_MS / 2) {
      l.heartbeatMs = Math.max(MIN_HEARTBEAT_MS, Math.min(l.heartbeatMs ?? main.heartbeatMs, quiet / 2));
    }
  }
}

/** By when a line must have brought something. A poll has timers of its own. */
function deadlineOf(line: Line): number {
  if (isPoll(line.rung)) return Number.POSITIVE_INFINITY;
  if (line.provenAt !== undefined) return line.heardAt + PACE.silence * line.heartbeatMs;
  return line.helloAt === undefined ? line.openedAt + PACE.helloMs : line.helloAt + PACE.proofMs;
}

function offlineReason(end: LineEnd): OfflineReason {
  return end.how === 'foreign' ? 'blocked' : end.how === 'refused' ? 'busy' : 'unreachable';
}
