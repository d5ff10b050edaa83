import type { WireEvent } from '../chat/entries.ts';
import { type Access, Refused } from './ask.ts';
import type { LineEnd } from './ladder.ts';

/** What a carrier reports while it carries. Nothing is reported after `close()`. */
export interface LineListener {
  /** An event as it came, with the cursor that it leads to, if it says so. */
  event(event: WireEvent, cursor: string | undefined): void;
  /**
   * A poll was answered: all up to `cursor` has been told. `hasMore`: there is more at once. `tookMs`: how long the
   * answer took, if it wasn't held.
   */
  answered(cursor: string, hasMore: boolean, tookMs: number | undefined): void;
  /** It ended by itself. The last call. */
  ended(end: LineEnd): void;
}

/** What a connection asks for, over whichever carrier. */
export interface Asking {
  readonly access: Access;
  readonly WebSocket?: WebSocketLike | undefined;
  readonly rooms: readonly string[];
  /** The cursor to go on from, asked for before each request. */
  readonly after: () => string;
  readonly heartbeatMs?: number | undefined;
}

/** A connection that is open, or about to be. */
export interface OpenLine {
  close(): void;
}

/** The constructor of sockets: the browser's, or one that is like it. */
export type WebSocketLike = new (url: string) => WebSocket;

/** The query of a stream, socket or poll. `t` differs each time, so that no cache has an answer to it. */
export function queryOf({ rooms, after, heartbeatMs }: Asking, more: Record<string, string>): string {
  const query = new URLSearchParams({ rooms: rooms.join(','), after: after(), ...more });
  if (heartbeatMs !== undefined) query.set('heartbeat', seconds(heartbeatMs));
  query.set('t', Math.random().toString(36).slice(2));
  return query.toString();
}

/** A duration as the service reads it. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** What a refusal means to a line; anything else that was thrown is an answer that couldn't be read. */
export function endOf(error: unknown): LineEnd {
  if (!(error instanceof Refused)) return { how: 'foreign' };
  const { code, isPassing, retryAfterMs } = error;
  if (code === 'unreachable') return { how: 'unreachable' };
  if (code === 'blocked') return { how: 'foreign', ...(retryAfterMs && { retryMs: retryAfterMs }) };
  return { how: 'refused', code, isFinal: !isPassing, ...(retryAfterMs && { retryMs: retryAfterMs }) };
}

/** What a stream's `bye` means. */
export function endOfBye({ code, retry }: { code: string; retry?: number }): LineEnd {
  return { how: 'bye', code, ...(retry !== undefined && { retryMs: retry }) };
}
