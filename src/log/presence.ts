import { formatCursor } from '../chat/cursors.ts';
import { streamId } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { User } from '../chat/users.ts';
import { newEpoch } from './epoch.ts';
import type { Keys, UserKey } from './keys.ts';
import type { Pace } from './pace.ts';
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
  /** Most that are listed; what happens among more isn't told. */
  readonly listed: number;
  /** The journal's end when this was read: what is told of comings and goings after it applies on top. */
  readonly cursor: string;
}

/** A lease renewed a quarter of its life ago isn't renewed again, so that short polls cost Redis nothing. */
const RENEWALS_A_LEASE = 4;
/** In a crowd, of which nobody is told who was taken out by another process, it is forgotten sooner. */
const RENEWALS_A_LEASE_IN_CROWDS = 20;
const REMEMBERED = 100_000;
/** Keys outlive the last lease by this at least: time for somebody to tell that it has ended. */
const MIN_KEEP_MS = 5000;
const ROOMS_A_SWEEP = 200;
const PEOPLE_A_SWEEP = 200;

/**
 * Who is here: whoever said so within the last lease, on whichever carrier and to whichever process; never whoever only
 * has a socket. Comings and goings are told in the journal by the script that takes note of them, hence exactly once.
 */
export class Presence {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #options: PresenceOptions;
  readonly #pace: Pace;
  /** Until when whose renewal where is a repetition, about the oldest first. */
  readonly #renewedUntil = new Map<string, number>();
  /** Leases renewed in Redis, looks for ended ones, and people whom those found gone. */
  readonly counts = { renewals: 0, sweeps: 0, gone: 0 };

  /** `pace` is that of a user's comings: each is told to all of a room. */
  constructor(redis: RedisClient, keys: Keys, pace: Pace, options: PresenceOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#pace = pace;
    this.#options = options;
  }

  /**
   * The user is in these rooms, for a lease from now; rooms that don't exist are passed over. Answers whether that had to be
   * written: a while ago it was. Refusal: `too_fast`, for the rooms that the user would have come to.
   */
  async renew(rooms: readonly RoomKey[], userKey: UserKey, user: User): Promise<boolean> {
    const due = this.#take(rooms, userKey);
    if (due.length === 0) return false;
    let open = due;
    try {
      open = await this.#renew(due, userKey, user, false);
      if (open.length > 0) {
        await this.#pace.count(userKey, open.length);
        open = await this.#renew(open, userKey, user, true);
      }
      this.counts.renewals += due.length;
      return true;
    } catch (error) {
      for (const room of open) this.forget(room, userKey);
      throw error;
    }
  }

  /** Answers the rooms that the user would come to by it and may not. */
  async #renew(
    rooms: readonly RoomKey[],
    userKey: UserKey,
    user: User,
    mayCome: boolean,
  ): Promise<RoomKey[]> {
    const { leaseMs } = this.#options;
    const [, comings = '', crowded = ''] = await this.#run(
      renewScript,
      [
        this.#keys.whereabouts(userKey),
        ...rooms.flatMap((room) => [this.#keys.room(room), this.#keys.presence(room), this.#keys.here(room)]),
      ],
      [
        userKey,
        JSON.stringify(user),
        leaseMs,
        leaseMs + Math.max(leaseMs, MIN_KEEP_MS),
        mayCome ? 1 : 0,
        ...rooms,
      ],
    );
    const until = performance.now() + leaseMs / RENEWALS_A_LEASE_IN_CROWDS;
    for (const room of roomsOf(crowded)) this.#renewedUntil.set(nameOf(room, userKey), until);
    return roomsOf(comings);
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
      listed: this.#options.presenceListed,
      cursor: formatCursor(epoch, streamId(end)),
    };
  }

  /** Takes away whose leases have ended, some of them each time. Answers whether there may be more at once. */
  async sweep(): Promise<boolean> {
    const rooms = (await dueScript.run(this.#redis, [this.#keys.presenceDue], [ROOMS_A_SWEEP])) as RoomKey[];
    this.counts.sweeps++;
    const gone = await Promise.all(rooms.map((room) => this.#sweepRoom(room)));
    for (const count of gone) this.counts.gone += count;
    return rooms.length === ROOMS_A_SWEEP || gone.includes(PEOPLE_A_SWEEP);
  }

  async #sweepRoom(room: RoomKey): Promise<number> {
    const keys = [this.#keys.presence(room), this.#keys.here(room)];
    const [, gone] = await this.#run(sweepScript, keys, [room, PEOPLE_A_SWEEP]);
    return Number(gone);
  }

  /** Somebody, here or on another process, took the user out of the room: the next renewal isn't a repetition. */
  forget(room: RoomKey, userKey: UserKey): void {
    this.#renewedUntil.delete(nameOf(room, userKey));
  }

  /** Redis may have lost what it was told, or a going have passed unheard. */
  forgetAll(): void {
    this.#renewedUntil.clear();
  }

  /** Of the rooms those in which the user's lease wasn't renewed lately, noted as renewed now. */
  #take(rooms: readonly RoomKey[], userKey: UserKey): RoomKey[] {
    const now = performance.now();
    const until = now + this.#options.leaseMs / RENEWALS_A_LEASE;
    for (const [name, end] of this.#renewedUntil) {
      if (now < end && this.#renewedUntil.size < REMEMBERED) break;
      this.#renewedUntil.delete(name);
    }
    const due = rooms.filter((room) => now >= (this.#renewedUntil.get(nameOf(room, userKey)) ?? 0));
    for (const room of due) {
      // Put anew, so that it stands where its age does.
      this.forget(room, userKey);
      this.#renewedUntil.set(nameOf(room, userKey), until);
    }
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

function roomsOf(text: string): RoomKey[] {
  return text === '' ? [] : (text.split(' ') as RoomKey[]);
}
