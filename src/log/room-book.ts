import { Refusal } from '../chat/refusals.ts';
import { LOBBY, type Room, type RoomKey, type RoomName, roomKey, roomNameOf } from '../chat/rooms.ts';
import type { SiteName } from '../chat/sites.ts';
import { answerOf, execute } from './journal.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

/** A member's view of a room. */
export interface RoomView extends Room {
  readonly isMember: boolean;
}

/** KEYS: room, rooms of the site. ARGV: room's key, title, who, when, most rooms. 'known': by the same, under the same title. */
const createScript = new Script(`
if redis.call('EXISTS', KEYS[1]) == 1 then
  local made = redis.call('HMGET', KEYS[1], 'title', 'createdBy')
  if made[1] == ARGV[2] and made[2] == ARGV[3] then return 'known' end
  return 'exists'
end
if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'full' end
redis.call('HSET', KEYS[1], 'title', ARGV[2], 'createdBy', ARGV[3], 'createdAt', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
return 'created'
`);

/** KEYS: room. ARGV: when. Answers 0 where there is no room. */
const closeScript = new Script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSETNX', KEYS[1], 'closed', ARGV[1])
return 1
`);

/** Only a store that lost what it held has rooms no more; that may go unseen for so long. */
const SEEN_MS = 1500;
const MAX_SEEN = 20_000;

/** What rooms there are, and who is a member of which. */
export class RoomBook {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #maxRooms: number;
  /** Until when rooms needn't be asked for again: they are closed, but never taken away. */
  readonly #seenUntil = new Map<RoomKey, number>();

  constructor(redis: RedisClient, keys: Keys, maxRooms: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#maxRooms = maxRooms;
  }

  /** Sees to it that a site has its lobby. */
  async open(site: SiteName): Promise<void> {
    await this.#create(site, LOBBY, 'Lobby', 'throughline');
  }

  /** Creates a room. Refusals: `room_exists`, `too_many_rooms`. */
  async create(site: SiteName, room: RoomName, title: string, by: string): Promise<void> {
    if (!(await this.createOnce(site, room, title, by))) throw roomExists(room);
  }

  /** The same, but safe to repeat: false where the same creator created it before, under the same title. */
  async createOnce(site: SiteName, room: RoomName, title: string, by: string): Promise<boolean> {
    switch (await this.#create(site, room, title, by)) {
      case 'exists':
        throw roomExists(room);
      case 'full':
        throw new Refusal('too_many_rooms', `This site may have at most ${this.#maxRooms} rooms.`);
      case 'known':
        return false;
      default:
        return true;
    }
  }

  async #create(site: SiteName, room: RoomName, title: string, by: string): Promise<unknown> {
    const key = roomKey(site, room);
    return createScript.run(
      this.#redis,
      [this.#keys.room(key), this.#keys.rooms(site)],
      [key, title, by, Date.now(), this.#maxRooms],
    );
  }

  /**
   * Closes a room for good: it stays readable, but nothing can be said there. Safe to repeat. Refusal: `room_not_found`.
   */
  async close(room: RoomKey): Promise<void> {
    if ((await closeScript.run(this.#redis, [this.#keys.room(room)], [Date.now()])) === 0)
      throw noRoom(roomNameOf(room));
  }

  /** All rooms of a site as one user sees them, by name. */
  async list(site: SiteName, user: UserKey): Promise<RoomView[]> {
    const keys = (await this.#redis.smembers(this.#keys.rooms(site))) as RoomKey[];
    return this.#views(keys.sort(), user);
  }

  /** At most so many of those rooms of a site that are open, as one user sees them, the user's own first, and how many there are. */
  async listSome(
    site: SiteName,
    user: UserKey,
    most: number,
    isOpen: (room: RoomName) => boolean,
  ): Promise<{ rooms: RoomView[]; count: number }> {
    const [every, joined] = (await Promise.all([
      this.#redis.smembers(this.#keys.rooms(site)),
      this.#redis.smembers(this.#keys.joined(user)),
    ])) as [RoomKey[], RoomKey[]];
    const all = every.filter((room) => isOpen(roomNameOf(room)));
    const own = new Set(joined);
    const isOther = (room: RoomKey) => Number(!own.has(room));
    const listed = all
      .sort()
      .sort((a, b) => isOther(a) - isOther(b))
      .slice(0, most);
    return { rooms: await this.#views(listed, user), count: all.length };
  }

  /** One room as one user sees it. Refusal: `room_not_found`. */
  async view(room: RoomKey, user: UserKey): Promise<RoomView> {
    const [view] = await this.#views([room], user);
    if (view === undefined) throw noRoom(roomNameOf(room));
    return view;
  }

  /** Whether all these rooms were there within the last 1.5 s, as this process knows without asking. */
  areThere(rooms: readonly RoomKey[]): boolean {
    const now = performance.now();
    return rooms.every((room) => this.#isThere(room, now));
  }

  /** Who comes while Redis is away is told so. */
  #isThere(room: RoomKey, now: number): boolean {
    return this.#redis.status === 'ready' && now < (this.#seenUntil.get(room) ?? 0);
  }

  /** Refusal `room_not_found`, naming the first of the rooms that there isn't; those that there are were there within the last 1.5 s. */
  async mustExist(rooms: readonly RoomKey[]): Promise<void> {
    const now = performance.now();
    const unsure = rooms.filter((room) => !this.#isThere(room, now));
    if (unsure.length === 0) return;
    const found = await Promise.all(unsure.map((room) => this.#redis.exists(this.#keys.room(room))));
    const missing = unsure[found.indexOf(0)];
    if (missing !== undefined) throw noRoom(roomNameOf(missing));
    if (this.#seenUntil.size > MAX_SEEN) this.#seenUntil.clear();
    for (const room of unsure) this.#seenUntil.set(room, now + SEEN_MS);
  }

  /** Makes a user a member until `untilMs` (milliseconds since 1970; Infinity: for good). Refusal: `room_not_found`. */
  async join(room: RoomKey, user: UserKey, untilMs: number): Promise<void> {
    await this.mustExist([room]);
    await this.#redis.zadd(this.#keys.members(room), 'GT', score(untilMs), user);
    await this.#redis.sadd(this.#keys.joined(user), room);
    if (Number.isFinite(untilMs)) await this.#redis.pexpireat(this.#keys.joined(user), Math.ceil(untilMs));
  }

  /** Ends a membership, if there was one. Refusal: `room_not_found`. */
  async leave(room: RoomKey, user: UserKey): Promise<void> {
    await this.mustExist([room]);
    await this.#redis.zrem(this.#keys.members(room), user);
    await this.#redis.srem(this.#keys.joined(user), room);
  }

  /** Keeps all memberships of a user until `untilMs`. */
  async renew(user: UserKey, untilMs: number): Promise<void> {
    const rooms = (await this.#redis.smembers(this.#keys.joined(user))) as RoomKey[];
    if (rooms.length === 0) return;
    await Promise.all(
      rooms.map((room) => this.#redis.zadd(this.#keys.members(room), 'XX', 'GT', score(untilMs), user)),
    );
    await this.#redis.pexpireat(this.#keys.joined(user), Math.ceil(untilMs));
  }

  /** Ends all memberships of a user but those that are for good. */
  async forget(user: UserKey): Promise<void> {
    const rooms = (await this.#redis.smembers(this.#keys.joined(user))) as RoomKey[];
    await Promise.all(
      rooms.map(async (room) => {
        if ((await this.#redis.zscore(this.#keys.members(room), user)) === 'inf') return;
        await this.#redis.zrem(this.#keys.members(room), user);
        await this.#redis.srem(this.#keys.joined(user), room);
      }),
    );
  }

  async #views(rooms: readonly RoomKey[], user: UserKey): Promise<RoomView[]> {
    const transaction = this.#redis.multi();
    for (const room of rooms) {
      const members = this.#keys.members(room);
      transaction
        .hmget(this.#keys.room(room), 'title', 'n', 'closed')
        .zremrangebyscore(members, '-inf', Date.now())
        .zcard(members)
        .zscore(members, user);
    }
    const replies = await execute(transaction);
    return rooms.flatMap((room, i) => {
      const [title, n, closed] = answerOf(replies[i * 4]) as (string | null)[];
      if (title === null || title === undefined) return [];
      const members = answerOf(replies[i * 4 + 2]) as number;
      const isMember = answerOf(replies[i * 4 + 3]) !== null;
      const view = { room: roomNameOf(room), title, n: Number(n ?? 0), members, isMember };
      return [closed ? { ...view, closed: true as const } : view];
    });
  }
}

function roomExists(room: RoomName): Refusal {
  return new Refusal('room_exists', `There is a room ${room} already.`, { field: 'room' });
}

function noRoom(room: RoomName): Refusal {
  return new Refusal('room_not_found', `There is no room ${room}.`, { field: 'room' });
}

function score(untilMs: number): string {
  return Number.isFinite(untilMs) ? String(Math.ceil(untilMs)) : '+inf';
}
