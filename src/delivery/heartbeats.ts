import type { HeartbeatNotice } from '../chat/entries.ts';
import { Frame } from './frame.ts';

/** Streams that came at different times are at different beats. */
const MOST = 256;

/**
 * Heartbeats, each encoded once for all streams that are due the same one: where it is quiet all stand at one place. What thousands
 * of idle readers would leave behind for each of their own is so much that V8 doesn't take the process for idle, and keeps
 * what a burst of requests left.
 */
export class Heartbeats {
  readonly #frames = new Map<number, Frame>();
  #cursor: string | undefined;

  /** The `n`-th of a stream, with where its client goes on from if it has been told all there is. */
  frame(n: number, cursor: string | undefined): Frame {
    if (cursor !== this.#cursor || this.#frames.size === MOST) this.#frames.clear();
    this.#cursor = cursor;
    let frame = this.#frames.get(n);
    if (frame === undefined) {
      const beat: HeartbeatNotice = { kind: 'heartbeat', n };
      frame = new Frame('heartbeat', JSON.stringify(beat), {
        isKept: true,
        ...(cursor !== undefined && { cursor }),
      });
      this.#frames.set(n, frame);
    }
    return frame;
  }
}
