import { formatCursor } from '../chat/cursors.ts';
import { streamId } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { User } from '../chat/users.ts';
import { newEpoch } from './epoch.ts';
import type { Keys, UserKey } from './keys.ts';
import { dropScript, dueScript, listScript, renewScript, sweepScript } from './presence-script.ts';
import type { RedisClient } from './redis-client.ts';
import type { Script } from './script.ts';

interface PresenceOptions {
  readonly leaseMs: number;
  /** Most people of a room that are listed, and whose comings and goings are told. */
  readonly presenceListed: number;
  readonly journalEntries: number;
}

/** Who is in a room: at most so many people as are listed, and how many there are. */
export interface People {
  readonly people: readonly User[];
  readonly count: number;
  /** The journal's end when this was read: what is told of comings and goings after it applies on top. */
  readonly cursor: string;
}

/** A lease renewed a quarter of its life ago isn't renewed again, so that short polls cost Redis nothing. */
const RENEWALS_A_LEASE = 4;
const REMEMBERED = 100_000;
/** Keys outlive the last lease by this at least: time for somebody to tell that it has ended. */
const MIN_KEEP_MS = 5000;
const ROOMS_A_SWEEP = 32;
const PEOPLE_A_SWEEP = 200;

/**
 * Who is here: whoever said so within the last lease, on whichever carrier and to whichever process; never whoever only
 * has a socket. Comings and goings are told in the journal by the script that takes note of them, hence exactly once.
 */
export class Presence {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #options: PresenceOptions;
  /** When this process renewed whom where, oldest first. */
  readonly #renewedAt = new Map<string, number>();

  constructor(redis: RedisClient, keys: Keys, options: PresenceOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#options = options;
  }

  /** The user is in these rooms, for a lease from now; rooms that don't exist are passed over. */
  async renew(rooms: readonly RoomKey[], userKey: UserKey, user: User): Promise<void> {
    const due = this.#take(rooms, userKey);
    if (due.length === 0) return;
    const { leaseMs } = this.#options;
    const { id, name, guest } = user;
    try {
      await this.#run(
        renewScript,
        [
          this.#keys.whereabouts(userKey),
          ...due.flatMap((room) => [this.#keys.room(room), this.#keys.presence(room), this.#keys.here(room)]),
        ],
        [
          userKey,
          JSON.stringify({ id, name, guest }),
          leaseMs,
          leaseMs + Math.max(leaseMs, MIN_KEEP_MS),
          ...due,
        ],
      );
    } catch (error) {
      for (const room of due) this.#renewedAt.delete(nameOf(room, userKey));
      throw error;
    }
  }

  /** The user is in these rooms (default: in any) no longer, which is told at once. */
  async drop(userKey: UserKey, rooms?: readonly RoomKey[]): Promise<void> {
    const whereabouts = this.#keys.whereabouts(userKey);
    const left = rooms ?? ((await this.#redis.zrange(whereabouts, 0, '-1')) as RoomKey[]);
    if (left.length === 0) return;
    for (const room of left) this.forget(room, userKey);
    await this.#run(
      dropScript,
      [whereabouts, ...left.flatMap((room) => [this.#keys.presence(room), this.#keys.here(room)])],
      [userKey, ...left],
    );
  }

  /** Who is in a room. */
  async list(room: RoomKey): Promise<People> {
    const [epoch, end, count, ...people] = (await listScript.run(
      this.#redis,
      [this.#keys.journal, this.#keys.epoch, this.#keys.presence(room), this.#keys.here(room)],
      [newEpoch(), this.#options.presenceListed],
    )) as [string, string, string, ...string[]];
    return {
      people: people.map((json) => JSON.parse(json) as User),
      count: Number(count),
      cursor: formatCursor(epoch, streamId(end)),
    };
  }

  /** Takes away whose leases have ended, some of them each time. Answers whether there may be more at once. */
  async sweep(): Promise<boolean> {
    const rooms = (await dueScript.run(this.#redis, [this.#keys.presenceDue], [ROOMS_A_SWEEP])) as RoomKey[];
    let hasMore = rooms.length === ROOMS_A_SWEEP;
    for (const room of rooms) {
      const [, gone] = await this.#run(
        sweepScript,
        [this.#keys.presence(room), this.#keys.here(room)],
        [room, PEOPLE_A_SWEEP],
      );
      if (Number(gone) === PEOPLE_A_SWEEP) hasMore = true;
    }
    return hasMore;
  }

  /** Somebody, here or on another process, took the user out of the room: the next renewal isn't a repetition. */
  forget(room: RoomKey, userKey: UserKey): void {
    this.#renewedAt.delete(nameOf(room, userKey));
  }

  /** Redis may have lost what it was told. */
  forgetAll(): void {
    this.#renewedAt.clear();
  }

  /** Of the rooms those in which the user's lease wasn't renewed lately, noted as renewed now. */
  #take(rooms: readonly RoomKey[], userKey: UserKey): RoomKey[] {
    const now = performance.now();
    const repeatMs = this.#options.leaseMs / RENEWALS_A_LEASE;
    for (const [name, at] of this.#renewedAt) {
      if (now - at < repeatMs && this.#renewedAt.size < REMEMBERED) break;
      this.#renewedAt.delete(name);
    }
    const due = rooms.filter((room) => !this.#renewedAt.has(nameOf(room, userKey)));
    for (const room of due) this.#renewedAt.set(nameOf(room, userKey), now);
    return due;
  }

  async #run(script: Script, keys: string[], args: (string | number)[]): Promise<string[]> {
    const { journalEntries, presenceListed } = this.#options;
    const answer = (await script.run(
      this.#redis,
      [this.#keys.journal, this.#keys.epoch, this.#keys.presenceDue, ...keys],
      [journalEntries, newEpoch(), presenceListed, ...args],
    )) as string[];
    if (answer[0] !== 'done') throw new Error(`presence refused: ${answer.slice(1).join(' ')}`);
    return answer;
  }
}

function nameOf(room: RoomKey, userKey: UserKey): string {
  return `${room} ${userKey}`;
}
