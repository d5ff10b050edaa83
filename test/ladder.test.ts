import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CarrierName } from '../src/browser/feed.ts';
import {
  carrying,
  type Ladder,
  type Line,
  type LineEnd,
  ladderOf,
  MEMORY_MS,
  OWN_POST_MS,
  step,
} from '../src/browser/ladder.ts';
import { afterPoll, firstHold } from '../src/browser/poll-hold.ts';

const RUNGS: readonly CarrierName[] = ['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'];
const HEARTBEAT_MS = 2000;

/** What a network does to one rung, as its lines see it. */
type Network = (line: Line) => {
  /** Milliseconds after opening at which `hello` and the proving heartbeat arrive; undefined: never. */
  readonly helloMs?: number;
  readonly proofMs?: number;
  /** After so many milliseconds nothing arrives any more. */
  readonly muteMs?: number;
  readonly end?: { readonly afterMs: number; readonly end: LineEnd };
};

const well: Network = ({ rung }) => (rung.endsWith('poll') ? { proofMs: 20 } : { helloMs: 20, proofMs: 520 });
const held: Network = ({ rung }) => (rung.endsWith('poll') ? { proofMs: 20 } : {});
const cutAfter =
  (afterMs: number): Network =>
  (line) => ({ ...well(line), end: { afterMs, end: { how: 'cut' } } });
const muteAfter =
  (muteMs: number): Network =>
  (line) => ({ ...well(line), muteMs });
const endsWith =
  (end: LineEnd, afterMs = 10): Network =>
  () => ({ end: { afterMs, end } });

/** Runs a ladder through a network, millisecond by millisecond of a clock of its own. */
class Journey {
  ladder: Ladder;
  now = 1_000_000;
  /** The rungs opened as main, in order. */
  readonly mains: CarrierName[] = [];
  readonly probes: CarrierName[] = [];
  /** Times at which nothing would have brought a message, as [from, to). */
  readonly dark: [number, number][] = [];
  readonly startedAt = this.now;
  network: (line: Line) => ReturnType<Network>;
  random = () => 0.5;
  readonly #told = new Map<number, Set<string>>();

  constructor(
    networks: Partial<Record<CarrierName, Network>>,
    rungs = RUNGS,
    heartbeatMs: number | undefined = HEARTBEAT_MS,
  ) {
    this.network = (line) => (networks[line.rung] ?? well)(line);
    this.ladder = ladderOf(rungs, { heartbeatMs });
    this.take({ fact: 'start' });
  }

  get elapsed(): number {
    return this.now - this.startedAt;
  }

  take(fact: Parameters<typeof step>[1]): void {
    const before = this.ladder;
    this.ladder = step(this.ladder, fact, this.now, this.random);
    const { main, probe } = this.ladder;
    if (main && main.id !== before.main?.id && main.id !== before.probe?.id) this.mains.push(main.rung);
    if (probe && probe.id !== before.probe?.id) this.probes.push(probe.rung);
  }

  get lines(): Line[] {
    const { main, beside, probe } = this.ladder;
    return [main, beside, probe].filter((line) => line !== undefined);
  }

  /** Whether a message said now would arrive at once. */
  get isLit(): boolean {
    return this.lines.some((line) => {
      const { helloMs, proofMs, muteMs = Number.POSITIVE_INFINITY } = this.network(line);
      const age = this.now - line.openedAt;
      return age >= (helloMs ?? proofMs ?? Number.POSITIVE_INFINITY) && age < muteMs;
    });
  }

  run(ms: number): this {
    for (const until = this.now + ms; this.now < until; this.now += 10) {
      for (const line of this.lines) this.#pass(line);
      if (this.now >= this.ladder.wakeAt) this.take({ fact: 'time' });
      const last = this.dark.at(-1);
      if (this.isLit) continue;
      if (last?.[1] === this.now) last[1] += 10;
      else this.dark.push([this.now, this.now + 10]);
    }
    return this;
  }

  /** The longest that a message had to wait, in ms. */
  get longestDark(): number {
    return Math.max(0, ...this.dark.map(([from, to]) => to - from));
  }

  #pass(line: Line): void {
    const told = this.#told.get(line.id) ?? new Set();
    this.#told.set(line.id, told);
    const interval = line.heartbeatMs;
    const { helloMs, proofMs, muteMs = Number.POSITIVE_INFINITY, end } = this.network(line);
    const age = this.now - line.openedAt;
    const once = (name: string, isDue: boolean, fact: Parameters<typeof step>[1]) => {
      if (!isDue || told.has(name)) return;
      told.add(name);
      this.take(fact);
    };
    if (end) once('end', age >= end.afterMs, { fact: 'ended', line: line.id, end: end.end });
    if (age >= muteMs || !this.lines.some(({ id }) => id === line.id)) return;
    once('hello', helloMs !== undefined && age >= helloMs, {
      fact: 'hello',
      line: line.id,
      heartbeatMs: this.ladder.heartbeatMs ?? HEARTBEAT_MS,
    });
    if (proofMs === undefined || age < proofMs) return;
    const beat = Math.floor((age - proofMs) / interval);
    once(`beat ${beat}`, true, { fact: 'heard', line: line.id, isProof: true });
  }
}

const streams = (network: Network) => ({ sse: network, 'post-stream': network, websocket: network });

describe('the ladder', () => {
  test('stays on the first rung of a network that lets events pass, with nothing beside it', () => {
    const journey = new Journey({}).run(60_000);
    expect(journey.mains).toEqual(['sse']);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
    expect(journey.ladder.beside).toBeUndefined();
    expect(journey.longestDark).toBeLessThanOrEqual(20);
  });

  test('has a poll beside a stream that is held within a second, and goes down rung by rung', () => {
    const journey = new Journey(streams(held)).run(30_000);
    expect(journey.mains).toEqual(['sse', 'post-stream', 'websocket', 'long-poll']);
    expect(carrying(journey.ladder)?.rung).toBe('long-poll');
    expect(journey.longestDark).toBeLessThan(1200);
  });

  test('takes a status or an open connection for nothing: hello without its proving heartbeat is held', () => {
    const journey = new Journey({ sse: () => ({ helloMs: 20 }) }).run(10_000);
    expect(journey.mains).toEqual(['sse', 'post-stream']);
  });

  test('isn’t taken in by hello and heartbeat that arrive together, as from a buffer that was full', () => {
    const journey = new Journey({ sse: () => ({ helloMs: 1500, proofMs: 1500 }) }).run(10_000);
    expect(journey.mains).toEqual(['sse', 'post-stream']);
  });

  test('goes on at once from a cut, on the same rung', () => {
    const journey = new Journey(streams(cutAfter(20_000)));
    journey.run(19_900);
    journey.run(200);
    expect(journey.mains).toEqual(['sse', 'sse']);
    expect(journey.longestDark).toBeLessThan(50);
  });

  test('learns the age at which streams are cut, and replaces them before, overlapping', () => {
    const journey = new Journey(streams(cutAfter(10_000))).run(24_000);
    expect(journey.probes).toEqual([]);
    journey.run(60_000);
    expect(journey.probes.length).toBeGreaterThan(5);
    expect(new Set(journey.probes)).toEqual(new Set(['sse']));
    expect(new Set(journey.mains)).toEqual(new Set(['sse']));
    expect(journey.longestDark).toBeLessThan(50);
  });

  test('asks for more heartbeats when streams are cut in quiet moments, as long each time', () => {
    const quiet: Network = () => ({ helloMs: 20, proofMs: 520, end: { afterMs: 6500, end: { how: 'cut' } } });
    const journey = new Journey({ sse: quiet }, RUNGS, 15_000);
    journey.run(7000);
    expect(journey.ladder.heartbeatMs).toBe(15_000);
    journey.run(7000);
    expect(journey.ladder.heartbeatMs).toBeLessThan(3100);
    journey.take({ fact: 'wake', why: 'online' });
    expect(journey.ladder.heartbeatMs).toBe(15_000);
  });

  test('waits as long as something on the way asks for, within reason', () => {
    const patience = endsWith({ how: 'foreign', retryMs: 60_000 });
    const journey = new Journey(Object.fromEntries(RUNGS.map((rung) => [rung, patience]))).run(55_000);
    expect(journey.mains).toHaveLength(RUNGS.length);
    journey.run(10_000);
    expect(journey.mains.length).toBeGreaterThan(RUNGS.length);
  });

  test('looks once, however often it is woken', () => {
    const journey = new Journey({}).run(10_000);
    for (let i = 0; i < 8; i++) journey.take({ fact: 'wake', why: 'online' });
    expect(journey.probes).toHaveLength(1);
  });

  test('leaves a rung whose streams are cut before they are of use', () => {
    const journey = new Journey({ sse: cutAfter(1500) }).run(10_000);
    expect(carrying(journey.ladder)?.rung).toBe('post-stream');
    expect(journey.ladder.verdicts.sse?.reason).toBe('cut');
  });

  test('takes a proven stream without a word for 2.5 heartbeats for mute, and has a poll at once', () => {
    const journey = new Journey({ sse: muteAfter(10_000) }).run(40_000);
    expect(carrying(journey.ladder)?.rung).toBe('post-stream');
    expect(journey.ladder.verdicts.sse?.reason).toBe('mute');
    expect(journey.longestDark).toBeLessThan(2.5 * HEARTBEAT_MS + 3000);
  });

  test('takes a stream that doesn’t tell our own post for mute, and asks by a poll before', () => {
    const journey = new Journey({}).run(5000);
    journey.take({ fact: 'posted' });
    journey.run(OWN_POST_MS + 20);
    expect(journey.ladder.beside?.rung).toBe('long-poll');
    journey.run(OWN_POST_MS);
    expect(journey.mains).toEqual(['sse', 'post-stream']);
  });

  test('forgets that suspicion once the post was seen', () => {
    const journey = new Journey({}).run(5000);
    journey.take({ fact: 'posted' });
    journey.run(500);
    journey.take({ fact: 'seen' });
    journey.run(20_000);
    expect(journey.mains).toEqual(['sse']);
  });

  test('tries a better rung in the background, and lets it take over only once it is proven', () => {
    const journey = new Journey(streams(held)).run(30_000);
    journey.run(60_000);
    expect(journey.probes[0]).toBe('sse');
    expect(carrying(journey.ladder)?.rung).toBe('long-poll');
    const { longestDark } = journey;
    journey.network = well;
    journey.run(10 * 60_000);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
    expect(journey.longestDark).toBe(longestDark);
  });

  test('tries a rung that keeps failing ever more seldom', () => {
    const journey = new Journey(streams(held)).run(2 * 3_600_000);
    expect(journey.probes.length).toBeLessThan(3 * 20);
  });

  test('does not flap between a rung that proves itself and falls silent, and the next', () => {
    const journey = new Journey({ sse: muteAfter(20_000) }).run(3_600_000);
    expect(journey.probes.filter((rung) => rung === 'sse').length).toBeLessThan(14);
  });

  test('doesn’t climb while nobody looks', () => {
    const journey = new Journey(streams(held)).run(30_000);
    journey.take({ fact: 'rest', isHidden: true });
    journey.run(600_000);
    expect(journey.probes).toEqual([]);
    journey.take({ fact: 'rest', isHidden: false });
    journey.run(100);
    expect(journey.probes).toEqual(['sse']);
  });

  test('begins where it ended, for ten minutes', () => {
    const { verdicts } = new Journey(streams(held)).run(30_000).ladder;
    const at = (verdicts.sse?.at ?? 0) + 60_000;
    const soon = step(ladderOf(RUNGS, { verdicts }), { fact: 'start' }, at, Math.random);
    expect(soon.main?.rung).toBe('long-poll');
    const later = step(ladderOf(RUNGS, { verdicts }), { fact: 'start' }, at + MEMORY_MS, Math.random);
    expect(later.main?.rung).toBe('sse');
  });

  test('drops its verdicts when the network changes', () => {
    const journey = new Journey(streams(held)).run(30_000);
    journey.network = well;
    journey.take({ fact: 'wake', why: 'online' });
    journey.run(2000);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
  });

  test('says it is offline where nothing answers, and blames no rung for it', () => {
    const none = endsWith({ how: 'unreachable' });
    const journey = new Journey(Object.fromEntries(RUNGS.map((rung) => [rung, none]))).run(20_000);
    expect(journey.ladder.offline).toEqual({ reason: 'unreachable', isFinal: false });
    expect(journey.ladder.verdicts).toEqual({});
    expect(journey.mains.length).toBeLessThan(30);
    journey.network = well;
    journey.take({ fact: 'wake', why: 'online' });
    journey.run(1000);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
  });

  test.each([2, 5, 15, 40])('waits at most half as long as it was away, after %d s', (seconds) => {
    const none = endsWith({ how: 'unreachable' });
    const journey = new Journey(Object.fromEntries(RUNGS.map((rung) => [rung, none])));
    // The longest that may be drawn each time.
    journey.random = () => 1;
    journey.run(seconds * 1000);
    journey.network = well;
    journey.run(Math.max(seconds * 500, 500) + 500);
    expect(carrying(journey.ladder)).toBeDefined();
  });

  test('finds the way round a rung that can’t be reached, where a poll can', () => {
    const journey = new Journey({ sse: endsWith({ how: 'unreachable' }) }).run(5000);
    expect(carrying(journey.ladder)?.rung).toBe('post-stream');
    expect(journey.longestDark).toBeLessThan(1200);
  });

  test('says that something answers in the service’s place, where nothing else does', () => {
    const foreign = endsWith({ how: 'foreign' });
    const journey = new Journey(Object.fromEntries(RUNGS.map((rung) => [rung, foreign]))).run(20_000);
    expect(journey.ladder.offline).toEqual({ reason: 'blocked', isFinal: false });
  });

  test('waits as long as the service asks for', () => {
    const busy = endsWith({ how: 'refused', code: 'unavailable', isFinal: false, retryMs: 4000 });
    const journey = new Journey({ sse: busy }).run(3900);
    expect(journey.mains).toEqual(['sse']);
    expect(journey.ladder.offline?.reason).toBe('busy');
    const deploy = new Journey({ sse: endsWith({ how: 'bye', code: 'shutting_down', retryMs: 4000 }) }).run(
      3900,
    );
    expect(deploy.mains).toEqual(['sse']);
    expect(deploy.run(300).mains).toEqual(['sse', 'sse']);
  });

  test.each([
    ['no_session', 'session_ended'],
    ['guests_refused', 'session_ended'],
    ['room_not_found', 'refused'],
    ['room_forbidden', 'refused'],
  ])('ends for good at %s', (code, reason) => {
    const journey = new Journey({ sse: endsWith({ how: 'refused', code, isFinal: true }) }).run(60_000);
    expect(journey.ladder.offline).toEqual({ reason, isFinal: true });
    expect(journey.mains).toEqual(['sse']);
    journey.take({ fact: 'wake', why: 'online' });
    expect(journey.lines).toEqual([]);
  });

  test('judges nothing by the silence of a machine that slept', () => {
    const journey = new Journey({}).run(10_000);
    journey.now += 3_600_000;
    journey.take({ fact: 'time' });
    journey.run(5000);
    expect(journey.ladder.verdicts.sse?.isLifted ?? true).toBe(true);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
  });

  test('without polls to fall back on, keeps to what it has', () => {
    const journey = new Journey({ sse: held }, ['sse']).run(30_000);
    expect(new Set(journey.mains)).toEqual(new Set(['sse']));
    journey.network = well;
    journey.run(60_000);
    expect(carrying(journey.ladder)?.rung).toBe('sse');
  });

  const behaviour = fc.oneof(
    fc.constant(well),
    fc.constant(held),
    fc.integer({ min: 20, max: 4000 }).map(
      (helloMs): Network =>
        () => ({ helloMs }),
    ),
    fc.integer({ min: 600, max: 40_000 }).map(cutAfter),
    fc.integer({ min: 600, max: 40_000 }).map(muteAfter),
    fc.constant(endsWith({ how: 'foreign' })),
    fc.constant(endsWith({ how: 'unreachable' })),
    fc.constant(endsWith({ how: 'cut' }, 30)),
  );
  test('whatever becomes of the streams, while polls pass nobody is late beyond the bounds', () => {
    fc.assert(
      fc.property(behaviour, behaviour, behaviour, (sse, postStream, websocket) => {
        const journey = new Journey({ sse, 'post-stream': postStream, websocket }).run(120_000);
        expect(journey.longestDark).toBeLessThan(2.5 * HEARTBEAT_MS + 3000);
      }),
      { numRuns: 150 },
    );
  });

  const change = fc.oneof(
    fc.record({ fact: fc.constantFrom('posted' as const, 'seen' as const) }),
    fc.record({ fact: fc.constant('rooms' as const) }),
    fc.record({ fact: fc.constant('rebased' as const) }),
    fc.record({
      fact: fc.constant('wake' as const),
      why: fc.constantFrom('online' as const, 'shown' as const),
    }),
    fc.record({ fact: fc.constant('rest' as const), isHidden: fc.boolean() }),
  );
  test('whatever happens, it always has a line or a time to open one, and recovers when the network does', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            behaviour,
            behaviour,
            behaviour,
            fc.integer({ min: 10, max: 20_000 }),
            change,
            fc.boolean(),
          ),
          {
            maxLength: 6,
          },
        ),
        (phases) => {
          const journey = new Journey({});
          for (const [sse, socket, poll, ms, fact, sleeps] of phases) {
            journey.network = (line) =>
              ({ sse, websocket: socket, 'post-stream': sse, 'long-poll': poll, 'short-poll': poll })[
                line.rung
              ](line);
            journey.run(ms);
            if (fact.fact !== 'rebased') journey.take(fact);
            else if (journey.lines[0])
              journey.take({ fact: 'rebased', line: journey.lines.at(-1)?.id as number });
            if (sleeps) journey.now += 60_000;
            expect(journey.lines.length > 0 || journey.ladder.wakeAt < Number.POSITIVE_INFINITY).toBe(true);
            expect(journey.lines.length).toBeLessThanOrEqual(3);
          }
          journey.network = well;
          journey.run(40_000);
          expect(carrying(journey.ladder)).toBeDefined();
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('the hold of polls', () => {
  test('grows while nothing cuts it, and never beyond the longest', () => {
    let hold = firstHold(25_000);
    expect(hold.holdMs).toBe(5000);
    for (let i = 0; i < 10; i++) hold = afterPoll(hold, 'empty');
    expect(hold.holdMs).toBe(25_000);
  });

  test('drips after a cut, and then stays well below the age of the next one', () => {
    const dripping = afterPoll(afterPoll(firstHold(), 'empty'), { cutMs: 9900 });
    expect(dripping).toMatchObject({ isDripping: true, isHopeless: false });
    const below = afterPoll(dripping, { cutMs: 10_000 });
    expect(below.holdMs).toBe(7000);
    expect(afterPoll(below, 'empty').holdMs).toBeLessThan(10_000);
  });

  test('is given up where even two seconds are cut', () => {
    let hold = firstHold();
    for (let i = 0; i < 2; i++) hold = afterPoll(hold, { cutMs: 1500 });
    expect(hold.isHopeless).toBe(true);
  });
});
