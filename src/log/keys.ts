/*
 * What Redis holds, under one namespace (`tl` unless configured otherwise). Every key is spelled here.
 *
 * tl:{0}:journal                        stream   to, kind, before, prev, n, data   everything, in order; trimmed to journalEntries.
 *                                                                              One consumer group for each webhook: webhook:<id>
 * tl:{0}:epoch                          string   random; names this history; set by start, by append and by whoever misses it
 * tl:{0}:log:<site>/<room>              stream   kind, prev, n, data               durable entries of a room, same ids as the journal
 * tl:{0}:sent:<room>:<user>:<clientId>  string   id, digest of the draft           posts already accepted, 24 h
 * tl:{0}:rooms:<site>                   set      rooms of a site
 * tl:{0}:room:<site>/<room>             hash     title, createdBy, createdAt, n, last (n and id in its log), closed (ms, if it is)
 * tl:{0}:members:<site>/<room>          zset     user -> when the membership lapses (ms; +inf: never)
 * tl:{0}:joined:<user>                  set      rooms the user is a member of
 * tl:{0}:presence:<site>/<room>         zset     user -> end of the latest lease (ms); expires, as the next three do
 * tl:{0}:here:<site>/<room>             hash     user -> the user's JSON: who was told to be here
 * tl:{0}:presence-due                   zset     room -> earliest lease end in it
 * tl:{0}:whereabouts:<user>             zset     room the user is here in -> end of the latest lease
 * tl:{0}:name:<site>:<folded name>      string   the guest who bears it, for the session's life; `*`: a known user
 * tl:{0}:known:<user>                   string   iat and JSON of the newest claims: user, rooms; lives longer than the sessions
 * tl:{0}:revoked:<user>                 string   seconds: claims and sessions of up to then hold no longer
 * tl:{0}:pace:<user>                    string   posts of the last second; tl:{0}:pace-burst:<user>: beyond those, of the last minute
 * tl:{0}:owed-gap:<webhook>             hash     upTo, reason, by, until (ms)      its receiver is to be told that events may be missing
 * tl:{0}:doctor                         hash     reports, carrier:…, proxy:…, <carrier>:<verdict> -> how often  what browsers' doctors found
 * tl:shards                             string   how many shards there are, stored at the first start
 * tl:sites                              hash     site -> its JSON              title, origins, guests, keys, jwt
 * tl:keys                               hash     id -> JSON                    API keys: site, name, scopes, SHA-256 of the secret
 * tl:webhooks                           hash     id -> JSON                    site, url, events, secret
 * tl:dead:<webhook>                     stream   letter                        what its receiver didn't take; 1000 at most
 * tl:lease:<nonce>                      string   a stream confirmed by its client, expires
 * tl:pace:…                             string   rate-limiter-flexible's counters
 * tl:secret                             string   the session secret, where none is configured
 * tl:sess:<sid>                         string   express-session, through connect-redis
 *
 * `{0}` is the hash tag of a shard (`{0}` where there is one; `shards.ts` says which others there are, and which sites
 * lie where): on Redis Cluster what one script or transaction touches lies in one slot, and what has no tag is read and
 * written key by key, in any slot. No key may be empty: that would be a slot of its own. Everything of a shard is
 * addressed by `<site>/…`, so a user here is `<site>/<id>` as well. From the doctor's on, keys are of no shard.
 */
import type { RoomKey } from '../chat/rooms.ts';
import type { SiteName } from '../chat/sites.ts';

/** A user among all sites: `<site>/<id>`. */
export type UserKey = `${string}/${string}`;

/** Whom an entry is for. */
export type Address = `room:${string}` | `user:${string}` | `session:${string}`;

/** Spells the keys of one namespace: those of one of its shards, and those that are of none. */
export class Keys {
  readonly journal: string;
  readonly epoch: string;
  readonly doctor: string;
  readonly presenceDue: string;
  readonly secret: string;
  readonly sites: string;
  readonly apiKeys: string;
  readonly hooks: string;
  readonly shards: string;
  readonly sessionPrefix: string;
  readonly pacePrefix: string;
  /** Of comings and goings. */
  readonly presencePacePrefix: string;
  /** Of what API keys ask. */
  readonly keyPacePrefix: string;
  readonly #namespace: string;
  readonly #shard: string;

  constructor(namespace: string, tag = '0') {
    this.#namespace = namespace;
    this.#shard = `${namespace}:{${tag}}`;
    this.journal = `${this.#shard}:journal`;
    this.epoch = `${this.#shard}:epoch`;
    this.doctor = `${namespace}:{0}:doctor`;
    this.presenceDue = `${this.#shard}:presence-due`;
    this.secret = `${namespace}:secret`;
    this.sites = `${namespace}:sites`;
    this.apiKeys = `${namespace}:keys`;
    this.hooks = `${namespace}:webhooks`;
    this.shards = `${namespace}:shards`;
    this.sessionPrefix = `${namespace}:sess:`;
    this.pacePrefix = `${namespace}:pace`;
    this.presencePacePrefix = `${namespace}:pace-presence`;
    this.keyPacePrefix = `${namespace}:pace-key`;
  }

  log(room: RoomKey): string {
    return `${this.#shard}:log:${room}`;
  }

  sent(room: RoomKey, user: UserKey, clientId: string): string {
    return `${this.#shard}:sent:${room}:${user}:${clientId}`;
  }

  pace(user: UserKey): string {
    return `${this.#shard}:pace:${user}`;
  }

  paceBurst(user: UserKey): string {
    return `${this.#shard}:pace-burst:${user}`;
  }

  rooms(site: SiteName): string {
    return `${this.#shard}:rooms:${site}`;
  }

  room(room: RoomKey): string {
    return `${this.#shard}:room:${room}`;
  }

  members(room: RoomKey): string {
    return `${this.#shard}:members:${room}`;
  }

  joined(user: UserKey): string {
    return `${this.#shard}:joined:${user}`;
  }

  presence(room: RoomKey): string {
    return `${this.#shard}:presence:${room}`;
  }

  here(room: RoomKey): string {
    return `${this.#shard}:here:${room}`;
  }

  whereabouts(user: UserKey): string {
    return `${this.#shard}:whereabouts:${user}`;
  }

  name(site: SiteName, foldedName: string): string {
    return `${this.#shard}:name:${site}:${foldedName}`;
  }

  user(user: UserKey): string {
    return `${this.#shard}:known:${user}`;
  }

  revoked(user: UserKey): string {
    return `${this.#shard}:revoked:${user}`;
  }

  owedGap(hook: string): string {
    return `${this.#shard}:owed-gap:${hook}`;
  }

  deadLetters(hook: string): string {
    return `${this.#namespace}:dead:${hook}`;
  }

  lease(nonce: string): string {
    return `${this.#namespace}:lease:${nonce}`;
  }
}
