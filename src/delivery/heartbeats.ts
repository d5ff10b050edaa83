import type { HeartbeatNotice } from '../chat/entries.ts';
import { Frame } from './frame.ts';

/** Streams that came at different times are at different beats. */
const MOST = 256;

/**
 * Heartbeats, each encoded once for all event streams that are due the same one: where it is quiet all stand at one place. If each of
 * thousands had one of its own, so much would be left behind that V8 wouldn't take the process for idle, and would keep what
 * a burst of requests left.
 */
export class Heartbeats {
  readonly #frames = new Map<number, Frame>();
  #cursor: string | undefined;

  /** The `n`-th of a stream, with where its client goes on from if it has been told all there is. */
  frame(n: number, cursor: string | undefined): Frame {
    // Those who are behind are few, and aren't to make the others' be encoded anew.
    if (cursor === undefined) return new Frame('heartbeat', jsonOf(n));
    if (cursor !== this.#cursor) this.#frames.clear();
    this.#cursor = cursor;
    const known = this.#frames.get(n);
    if (known !== undefined) return known;
    if (this.#frames.size === MOST) this.#frames.clear();
    const frame = new Frame('heartbeat', jsonOf(n), { cursor, retryMs: undefined, isKept: true });
    this.#frames.set(n, frame);
    return frame;
  }
}

function jsonOf(n: number): string {
  const beat: HeartbeatNotice = { kind: 'heartbeat', n };
  return JSON.stringify(beat);
}
