import type { StreamId } from './ids.ts';
import { idTime } from './ids.ts';
import type { RoomName } from './rooms.ts';
import type { User } from './users.ts';

/** A message as every carrier and the history pages tell it. */
export interface MessageEntry {
  readonly kind: 'message';
  readonly room: RoomName;
  readonly id: StreamId;
  /** The id of the entry before it in its room; `0-0` for the first. */
  readonly prev: StreamId;
  /** Its number among the room's durable entries, from 1. */
  readonly n: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly user: User;
  readonly text: string;
  readonly clientId?: string;
}

/** The log can't vouch for what followed `after`: reload the history and mark the place. */
export interface GapNotice {
  readonly kind: 'gap';
  readonly room: RoomName;
  /** What the reader asked to go on from. */
  readonly after: string;
  /** The oldest entry that the room's log still holds; null if it holds none. */
  readonly oldest: StreamId | null;
  readonly reason: GapReason;
}

/**
 * `trimmed`: entries after the cursor have left the log. `rollback`: the log itself went back (a restored or wiped
 * Redis). `unknown-cursor`: what was sent is no cursor.
 */
export type GapReason = 'trimmed' | 'rollback' | 'unknown-cursor';

/** Why a reader was ended by the service. */
export type EndingCode =
  | 'shutting_down'
  | 'session_ended'
  | 'rights_changed'
  | 'not_confirmed'
  | 'max_age'
  | 'stalled'
  | 'unavailable'
  | 'unsure'
  | 'too_fast'
  | 'internal';

/** The last event of a stream that the service ends. `retry`: come back after so many milliseconds; none: don't. */
export interface ByeNotice {
  readonly kind: 'bye';
  readonly code: EndingCode;
  readonly retry?: number;
}

/** The first event of a stream. */
export interface HelloNotice {
  readonly kind: 'hello';
  /** Names this stream in `POST /api/confirm`. */
  readonly nonce: string;
  /** Milliseconds between heartbeats, at most, when nothing else is told. */
  readonly heartbeat: number;
  /** How long a confirmation of this stream, and with it the client's presence, lasts; milliseconds. */
  readonly lease: number;
}

/** Proves that the carrier still carries. `n` counts from 1: the first proves that events come through singly. */
export interface HeartbeatNotice {
  readonly kind: 'heartbeat';
  readonly n: number;
}

/** Somebody came to a room, or is no longer there. Transient: no room log keeps it, so it has neither `prev` nor `n`. */
export interface PresenceEntry {
  readonly kind: 'presence';
  readonly room: RoomName;
  readonly id: StreamId;
  readonly at: number;
  readonly user: User;
  readonly here: boolean;
}

/** A room was closed: from here on it can only be read. Transient; who comes later learns it from the room itself. */
export interface ClosedEntry {
  readonly kind: 'closed';
  readonly room: RoomName;
  readonly id: StreamId;
  readonly at: number;
}

/** What a reader is told: entries and notices, as JSON on every carrier. */
export type WireEvent =
  | MessageEntry
  | PresenceEntry
  | ClosedEntry
  | GapNotice
  | HelloNotice
  | HeartbeatNotice
  | ByeNotice;

/**
 * An entry as the log keeps it. `data` is a JSON object of all that neither the log nor the id says.
 * A transient one, which no room log keeps, has `n` 0 and no `prev` of its own.
 */
export interface LoggedEntry {
  readonly kind: string;
  readonly id: StreamId;
  readonly prev: StreamId;
  readonly n: number;
  readonly data: string;
}

/** Whether it is of use only while it is fresh, and not kept by its room's log. */
export function isTransient({ n }: LoggedEntry): boolean {
  return n === 0;
}

/** An entry's JSON, the same on every carrier, put together without parsing `data` again. */
export function entryJson(room: RoomName, entry: LoggedEntry): string {
  const { kind, id, prev, n, data } = entry;
  const place = isTransient(entry) ? '' : `"prev":"${prev}","n":${n},`;
  const rest = data.length > 2 ? `,${data.slice(1)}` : '}';
  return `{"kind":"${kind}","room":"${room}","id":"${id}",${place}"at":${idTime(id)}${rest}`;
}
