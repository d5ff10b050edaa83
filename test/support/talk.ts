import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { compareIds, streamId } from '../../src/chat/ids.ts';
import { type Carrier, carriers, type Follower } from './carriers.ts';
import type { Person, WireEvent } from './service.ts';
import { waitFor } from './wait-for.ts';

const MAY_PASS = ['unavailable', 'unsure'];

/** Somebody who says numbered things, one after the other, each again under its `clientId` until it is accepted. */
class Speaker {
  readonly accepted: string[] = [];
  /** Why it speaks no more. */
  failure: unknown;
  /** The codes of all refusals. */
  readonly refusals: string[] = [];
  readonly #person: Person;
  readonly #prefix: string;
  readonly #room: string;
  readonly #stopping = new AbortController();
  readonly #abandoning = new AbortController();
  readonly #done: Promise<void>;

  constructor(person: Person, prefix: string, room = 'lobby') {
    this.#person = person;
    this.#prefix = prefix;
    this.#room = room;
    this.#done = this.#run();
    this.#done.catch((error) => {
      this.failure = error;
    });
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#stopping.signal.aborted; i++) {
      await this.#say(`${this.#prefix}${i}`);
      await pause(10);
    }
  }

  async #say(text: string): Promise<void> {
    const clientId = randomUUID();
    for (;;) {
      const res = await this.#person.send(`/api/rooms/${this.#room}/messages`, { text, clientId });
      if (res.ok) {
        this.accepted.push(text);
        return;
      }
      const { code } = ((await res.json()) as { error: { code: string } }).error;
      if (!MAY_PASS.includes(code)) throw new Error(`${text} was refused: ${code}`);
      this.refusals.push(code);
      if (this.#abandoning.signal.aborted) return;
      await pause(50);
    }
  }

  /** Gives up what is being said. */
  async abandon(): Promise<void> {
    this.#abandoning.abort();
    await this.stop().catch(() => {});
  }

  /** Resolves when what is being said is accepted; rejects if anything was refused for good. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }
}

/** Somebody who follows rooms and comes back from the cursor whenever the carrier ends, on the next of these processes. */
export class Listener {
  readonly name: string;
  readonly events: WireEvent[] = [];
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #follower: Follower | undefined;

  constructor(carrier: Carrier, persons: readonly Person[], rooms: string[], cursor: string) {
    this.name = carrier.name;
    this.#done = this.#run(carrier, persons, rooms, cursor);
  }

  get texts(): string[] {
    return this.events.flatMap(({ kind, text }) => (kind === 'message' ? [text as string] : []));
  }

  get gaps(): WireEvent[] {
    return this.events.filter(({ kind }) => kind === 'gap');
  }

  async #run(carrier: Carrier, persons: readonly Person[], rooms: string[], from: string): Promise<void> {
    let cursor = from;
    for (let i = 0; !this.#stopping.signal.aborted; i++) {
      const follower = carrier.follow(persons[i % persons.length] as Person, rooms, cursor);
      this.#follower = follower;
      const told = follower.told.bind(follower);
      follower.told = (event, id) => {
        if (event.kind === 'message' || event.kind === 'gap') this.events.push(event);
        told(event, id);
      };
      await follower.done;
      cursor = follower.cursor ?? cursor;
      await pause(20);
    }
  }

  /** Has it leave and come back. */
  async drop(): Promise<void> {
    await this.#follower?.cut();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#follower?.cut();
    await this.#done;
  }
}

/** A message as a room's log holds it. */
export interface Said {
  readonly id: string;
  readonly text: string;
}

/** What a room's log holds. */
export async function saidIn(redis: Redis, log: string): Promise<Said[]> {
  const entries = await redis.xrange(log, '-', '+');
  return entries.map(([id, fields]) => ({
    id,
    text: (JSON.parse(fields[fields.indexOf('data') + 1] as string) as { text: string }).text,
  }));
}

/** Speakers count from 0, so that a hole is seen even in a history that was lost since. */
function expectNoHoles(told: readonly WireEvent[], name: string): void {
  const counted = new Map<string, number[]>();
  for (const { text } of told) {
    const [, speaker = '', number] = /^(s\d+)-(\d+)$/.exec(text as string) ?? [];
    if (number !== undefined) counted.set(speaker, [...(counted.get(speaker) ?? []), Number(number)]);
  }
  for (const [speaker, numbers] of counted)
    expect(numbers, `${name}: of ${speaker}, until the first gap`).toEqual(numbers.map((_, i) => i));
}

/**
 * What a listener was told is the log: in order, nothing twice, and all of it, from the start or (where the history went
 * back) from the last gap on; and until the first gap nothing is left out either.
 */
function expectTold(listener: Listener, log: readonly Said[]): void {
  const stretches: WireEvent[][] = [[]];
  for (const event of listener.events) {
    if (event.kind === 'gap') stretches.push([]);
    else stretches.at(-1)?.push(event);
  }
  for (const stretch of stretches) {
    const ids = stretch.map(({ id }) => streamId(id as string));
    const isInOrder = ids.every((id, i) => i === 0 || compareIds(ids[i - 1] as typeof id, id) < 0);
    expect(isInOrder, `${listener.name}: in order, nothing twice`).toBe(true);
  }
  const [first] = stretches;
  // Without a gap what is lost may be what this listener never was told of.
  if (first !== undefined && stretches.length > 1) expectNoHoles(first, listener.name);
  expect(
    stretches.at(-1)?.map(({ text }) => text),
    listener.name,
  ).toEqual(log.map(({ text }) => text));
}

/** Readers over every carrier and two speakers, at both of two processes. */
export class Talk {
  readonly listeners: readonly Listener[];
  readonly #speakers: readonly Speaker[];

  private constructor(persons: readonly [Person, Person], cursor: string) {
    this.listeners = carriers.map((carrier, i) => {
      const order = i % 2 === 0 ? persons : [...persons].reverse();
      return new Listener(carrier, order, ['lobby'], cursor);
    });
    this.#speakers = persons.map((person, i) => new Speaker(person, `s${i}-`));
  }

  /** The same person at either process. */
  static async begin(persons: readonly [Person, Person]): Promise<Talk> {
    return new Talk(persons, (await persons[0].history()).cursor);
  }

  get accepted(): string[] {
    return this.#speakers.flatMap(({ accepted }) => accepted);
  }

  get refusals(): string[] {
    return this.#speakers.flatMap(({ refusals }) => refusals);
  }

  get gaps(): WireEvent[] {
    return this.listeners.flatMap(({ gaps }) => gaps);
  }

  /** Waits until each speaker has had so many more posts accepted. */
  async untilMore(count: number): Promise<void> {
    const wanted = this.#speakers.map(({ accepted }) => accepted.length + count);
    await waitFor(
      `${count} more posts of each`,
      () => {
        for (const { failure } of this.#speakers) if (failure !== undefined) throw failure;
        return this.#speakers.every(({ accepted }, i) => accepted.length >= (wanted[i] as number));
      },
      20_000,
    );
  }

  /** Ends the speaking, once all is accepted. */
  async hush(): Promise<void> {
    await Promise.all(this.#speakers.map((speaker) => speaker.stop()));
  }

  /** Ends it, well or not. */
  async end(): Promise<void> {
    await Promise.all(this.#speakers.map((speaker) => speaker.abandon()));
    await Promise.all(this.listeners.map((listener) => listener.stop()));
  }

  /** Waits until everybody has been told the log's end, and sees to it that it was told as it should be. */
  async expectAllTold(log: readonly Said[]): Promise<void> {
    for (const listener of this.listeners) {
      await waitFor(`the last word over ${listener.name}`, () => listener.texts.at(-1) === log.at(-1)?.text);
      await listener.stop();
      expectTold(listener, log);
    }
  }
}
