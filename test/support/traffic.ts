import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import { compareIds, streamId } from '../../src/chat/ids.ts';
import { type Carrier, carriers as everyCarrier, type Follower } from './carriers.ts';
import { Person, type WireEvent } from './service.ts';
import { waitFor } from './wait-for.ts';

const CLIENT_BACKOFF_MS = 20;
/** How long a connection may say nothing: one that was being handed to a worker as that was killed stays silent. */
const SILENCE_MS = 4000;

/** Posters who retry each post until it is accepted, and followers on every carrier who come back from their cursor. */
export class Traffic {
  readonly accepted: { id: string; text: string }[] = [];
  readonly told: { name: string; events: WireEvent[]; current: Follower | undefined }[] = [];
  /** Every post and every connection that failed, and was tried again. */
  readonly faults: unknown[] = [];
  failure: unknown;
  #isPosting = true;
  #isFollowing = true;
  readonly #running: Promise<void>[] = [];
  readonly #posting: Promise<void>[] = [];

  constructor(
    posters: Person[],
    followers: Person,
    cursor: string,
    carriers: readonly Carrier[],
    pauseMs: number,
  ) {
    for (const [i, person] of posters.entries()) this.#posting.push(this.#post(person, i, pauseMs));
    for (const carrier of carriers) this.#running.push(this.#follow(carrier, followers, cursor));
  }

  /** Begins it with people who log in at `url`; each poster pauses after each post. */
  static async begin(
    url: string,
    {
      posters = 4,
      pauseMs = 0,
      carriers = everyCarrier,
    }: { posters?: number; pauseMs?: number; carriers?: readonly Carrier[] } = {},
  ): Promise<Traffic> {
    const people: Person[] = [];
    for (let i = 0; i <= posters; i++) people.push(await Person.logIn(url));
    const reader = people.pop() as Person;
    return new Traffic(people, reader, (await reader.history()).cursor, carriers, pauseMs);
  }

  async #post(person: Person, poster: number, pauseMs: number): Promise<void> {
    for (let k = 0; this.#isPosting; k++) {
      const text = `${poster}:${k}`;
      const clientId = randomUUID();
      for (;;) {
        try {
          const init = { signal: AbortSignal.timeout(8000) };
          const res = await person.send('/api/rooms/lobby/messages', { text, clientId }, init);
          const answer = (await res.json()) as { id: string };
          if (res.ok) {
            this.accepted.push({ id: answer.id, text });
            await pause(pauseMs);
            break;
          }
          if (res.status < 500) this.failure ??= new Error(`post: ${res.status} ${JSON.stringify(answer)}`);
          this.faults.push(`post: ${res.status} ${JSON.stringify(answer)}`);
        } catch (error) {
          // The service is away, or the connection broke: the same post again.
          this.faults.push(error);
        }
        if (!this.#isFollowing) return;
        await pause(CLIENT_BACKOFF_MS);
      }
    }
  }

  async #follow(carrier: Carrier, person: Person, from: string): Promise<void> {
    const mine = {
      name: carrier.name,
      events: [] as WireEvent[],
      current: undefined as Follower | undefined,
    };
    this.told.push(mine);
    for (let after = from; this.#isFollowing; await pause(CLIENT_BACKOFF_MS)) {
      const follower = carrier.follow(person, ['lobby'], after);
      mine.current = follower;
      await this.#end(follower, carrier.name);
      mine.events.push(...follower.events);
      mine.current = undefined;
      after = follower.cursor ?? after;
      if (follower.failure !== undefined) this.faults.push(follower.failure);
      if (/: 4\d\d /.test(String(follower.failure))) this.failure ??= follower.failure;
    }
  }

  /** Resolves when it has ended; ends it where it says nothing. */
  async #end(follower: Follower, name: string): Promise<void> {
    const ended = follower.done.then(() => true);
    for (let heard = -1; heard < follower.all.length; ) {
      heard = follower.all.length;
      if (await Promise.race([ended, pause(SILENCE_MS, false, { ref: false })])) return;
    }
    if (this.#isPosting) this.faults.push(`${name}: silent for ${SILENCE_MS} ms`);
    await follower.cut();
    await ended;
  }

  eventsOf({ events, current }: Traffic['told'][number]): WireEvent[] {
    return [...events, ...(current?.events ?? [])];
  }

  /** Waits until so many further posts were accepted, and each follower was told so many further messages. */
  async more(count: number, withinMs = 20_000): Promise<void> {
    const target = this.accepted.length + count;
    await waitFor(
      `${count} further posts`,
      () => this.failure !== undefined || this.accepted.length >= target,
      withinMs,
    );
    const seen = (who: Traffic['told'][number]) =>
      this.eventsOf(who).filter(({ kind }) => kind === 'message').length;
    const before = target - count;
    await waitFor(
      'followers who keep up',
      () => this.failure !== undefined || this.told.every((who) => seen(who) >= before + count / 2),
      withinMs,
    );
    expect(this.failure).toBeUndefined();
  }

  /** Ends the posting, and has every follower be told every accepted message exactly once and in order. */
  async settle(): Promise<void> {
    this.#isPosting = false;
    await Promise.all(this.#posting);
    expect(this.failure).toBeUndefined();
    const expected = this.accepted
      .toSorted((a, b) => compareIds(streamId(a.id), streamId(b.id)))
      .map(({ id, text }) => `${id} ${text}`);
    for (const who of this.told) {
      const messages = () => this.eventsOf(who).filter(({ kind }) => kind === 'message');
      await waitFor(
        `${expected.length} messages over ${who.name}`,
        () => messages().length >= expected.length,
        20_000,
      ).catch(() => {});
      const told = messages().map(({ id, text }) => `${id} ${text}`);
      const isDouble = (line: string, i: number) => told.indexOf(line) !== i;
      expect(told.filter(isDouble), `doubles over ${who.name}`).toEqual([]);
      expect(
        expected.filter((line) => !told.includes(line)),
        `missing over ${who.name}`,
      ).toEqual([]);
      expect(told, who.name).toEqual(expected);
      const others = this.eventsOf(who).filter(({ kind }) => kind !== 'message');
      expect(
        others.filter(({ kind }) => kind !== 'bye'),
        who.name,
      ).toEqual([]);
    }
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#isPosting = this.#isFollowing = false;
    while (this.told.some(({ current }) => current !== undefined)) {
      await Promise.all(this.told.map(({ current }) => current?.cut()));
      await pause(1);
    }
    await Promise.all([...this.#posting, ...this.#running]);
  }
}
