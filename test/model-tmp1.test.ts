import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareIds, type StreamId } from '../src/chat/ids.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers, type Follower } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig, type WireEvent } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const ROOMS = 3;
const PROCESSES = 2;
const FOLLOWERS = 3;

let redis: TestRedis;
let servers: RunningServer[];
let person: Person;
let namespace: string;
let runs = 0;

beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis, {
    windowEntries: 3,
    pageEntries: 2,
    tailBatchEntries: 2,
    concurrentReads: 2,
    maxRooms: 100_000,
  });
  namespace = config.namespace;
  servers = [];
  for (let i = 0; i < PROCESSES; i++) servers.push(await startTestServer(config));
  person = await Person.logIn((servers[0] as RunningServer).url);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
  await redis.stop();
});

const at = (process: number) => person.at((servers[process] as RunningServer).url);

type Step =
  | { do: 'post'; room: number; process: number; count: number }
  | { do: 'move'; follower: number; carrier: number; process: number }
  | { do: 'drop'; follower: number }
  | { do: 'await'; follower: number }
  | { do: 'trim room'; room: number; keep: number }
  | { do: 'trim journal'; keep: number };

const natural = (max: number) => fc.integer({ min: 0, max });
const room = natural(ROOMS - 1);
const process = natural(PROCESSES - 1);
const follower = natural(FOLLOWERS - 1);
const carrier = natural(carriers.length - 1);
const keep = natural(3);

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('post' as const),
        room,
        process,
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('move' as const), follower, carrier, process }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('drop' as const), follower }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('await' as const), follower }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('trim room' as const), room, keep }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('trim journal' as const), keep }) },
  ) as fc.Arbitrary<Step>,
  { minLength: 5, maxLength: 40 },
);

/** Which rooms each follower reads: at least one. */
const choices = fc.array(fc.subarray([0, 1, 2], { minLength: 1 }), {
  minLength: FOLLOWERS,
  maxLength: FOLLOWERS,
});

interface Posted {
  readonly room: string;
  readonly id: StreamId;
}

/** Somebody who reads some rooms from one cursor on, over whatever connection there is at the moment. */
class Reading {
  readonly rooms: string[];
  readonly #past: WireEvent[] = [];
  #cursor: string;
  #current: Follower | undefined;

  constructor(rooms: string[], cursor: string) {
    this.rooms = rooms;
    this.#cursor = cursor;
  }

  get events(): WireEvent[] {
    return [...this.#past, ...(this.#current?.events ?? [])];
  }

  get failure(): unknown {
    return this.#current?.failure;
  }

  get isConnected(): boolean {
    return this.#current !== undefined;
  }

  async drop(): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    await current.cut();
    expect(current.failure).toBeUndefined();
    this.#past.push(...current.events);
    this.#cursor = current.cursor ?? this.#cursor;
    this.#current = undefined;
  }

  async move(carrier: number, process: number): Promise<void> {
    await this.drop();
    this.#current = (carriers[carrier] as (typeof carriers)[number]).follow(
      at(process),
      this.rooms,
      this.#cursor,
    );
  }

  /** Waits for the newest entries of its rooms; they can't have been trimmed, or a gap tells of them. */
  async reach(posted: readonly Posted[], trimmed: ReadonlySet<string>): Promise<void> {
    const newest = this.rooms.flatMap(
      (room) => posted.findLast((entry) => entry.room === room && !trimmed.has(entry.id)) ?? [],
    );
    await waitFor(
      `the newest of ${this.rooms}`,
      () => {
        if (this.failure !== undefined) throw this.failure;
        const told = new Set(this.events.map(({ id }) => id));
        return newest.every(({ id }) => told.has(id));
      },
      6000,
    );
  }
}

/** Holds what a follower was told against what was posted. */
function judge(reading: Reading, posted: readonly Posted[], trimmed: ReadonlySet<string>): void {
  const { events, rooms } = reading;
  expect(events.filter(({ kind, reason }) => kind !== 'message' && reason !== 'trimmed')).toEqual([]);
  const told = events.filter(({ kind }) => kind === 'message').map(({ id }) => id as StreamId);
  told.slice(1).forEach((id, i) => {
    expect(compareIds(told[i] as StreamId, id), `${told[i]} before ${id}`).toBeLessThan(0);
  });
  for (const room of rooms) {
    const expected = posted.filter((entry) => entry.room === room).map(({ id }) => id);
    let next = 0;
    let gaps: WireEvent[] = [];
    for (const event of events.filter((event) => event.room === room)) {
      if (event.kind === 'gap') {
        gaps.push(event);
        continue;
      }
      const index = expected.indexOf(event.id as StreamId);
      expect(index, `${event.id} is new and was posted to ${room}`).toBeGreaterThanOrEqual(next);
      const missing = expected.slice(next, index);
      for (const id of missing) {
        expect(trimmed.has(id), `${id} of ${room} is missing though it was never trimmed`).toBe(true);
        const isTold = gaps.some(
          ({ oldest }) => oldest === null || compareIds(id, oldest as unknown as StreamId) < 0,
        );
        expect(isTold, `${id} of ${room} is missing, and no gap says so`).toBe(true);
      }
      if (missing.length === 0) expect(gaps, `a gap of ${room} where nothing is missing`).toEqual([]);
      gaps = [];
      next = index + 1;
    }
    expect(gaps, `a gap of ${room} after everything`).toEqual([]);
    expect(next, `all of ${room} was told`).toBe(expected.length);
  }
}

async function follows(schedule: readonly Step[], chosen: readonly number[][]): Promise<void> {
  const names = Array.from({ length: ROOMS }, (_, i) => `r${runs}-${i}`);
  runs++;
  for (const name of names) expect((await person.send('/api/rooms', { room: name })).status).toBe(201);
  const { cursor } = await person.history('', names[0]);
  const readings = chosen.map(
    (rooms) =>
      new Reading(
        rooms.map((i) => names[i] as string),
        cursor,
      ),
  );
  const posted: Posted[] = [];
  const trimmed = new Set<string>();
  const post = async (room: string, by: number) => {
    posted.push({ room, id: (await at(by).post('x', room)) as StreamId });
  };
  const one = (index: number) => readings[index] as Reading;
  try {
    for (const step of schedule) {
      switch (step.do) {
        case 'post':
          for (let i = 0; i < step.count; i++) await post(names[step.room] as string, step.process);
          break;
        case 'move':
          await one(step.follower).move(step.carrier, step.process);
          break;
        case 'drop':
          await one(step.follower).drop();
          break;
        case 'await':
          if (one(step.follower).isConnected) await one(step.follower).reach(posted, trimmed);
          break;
        case 'trim room': {
          const room = names[step.room] as string;
          await redis.client.xtrim(`${namespace}:{0}:log:main/${room}`, 'MAXLEN', step.keep);
          const ids = posted.filter((entry) => entry.room === room).map(({ id }) => id);
          for (const id of ids.slice(0, Math.max(0, ids.length - step.keep))) trimmed.add(id);
          break;
        }
        case 'trim journal':
          await redis.client.xtrim(`${namespace}:{0}:journal`, 'MAXLEN', step.keep);
          break;
      }
    }
    for (const name of names) await post(name, 0);
    for (const [i, reading] of readings.entries()) {
      if (!reading.isConnected) await reading.move(i % carriers.length, i % PROCESSES);
      await reading.reach(posted, trimmed);
    }
    for (const reading of readings) {
      await reading.drop();
      judge(reading, posted, trimmed);
    }
  } finally {
    for (const reading of readings) await reading.drop().catch(() => {});
  }
}

test('whatever is posted, dropped, resumed, moved and trimmed: each follower is told everything once and in order, or of the gap', {
  timeout: 500_000,
}, async () => {
  await fc.assert(fc.asyncProperty(steps, choices, follows), {
    numRuns: 1500,
    interruptAfterTimeLimit: 400_000,
    verbose: 1,
  });
});
