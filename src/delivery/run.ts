import type { StreamId } from '../chat/ids.ts';
import type { Frame } from './frame.ts';

/**
 * What a reader is told at once: frames in order, after which everything up to `end` has been told.
 * Shared by all readers who stand in the same place, and so is the one Buffer that it becomes.
 */
export class Run {
  readonly frames: readonly Frame[];
  readonly end: StreamId;
  #sse: Buffer | undefined;
  #wrapped: { readonly by: (bytes: Buffer) => Buffer; readonly bytes: Buffer } | undefined;

  constructor(frames: readonly Frame[], end: StreamId) {
    this.frames = frames;
    this.end = end;
  }

  get sse(): Buffer {
    this.#sse ??=
      this.frames.length === 1 && this.frames[0]
        ? this.frames[0].sse
        : Buffer.concat(this.frames.map((frame) => frame.sse));
    return this.#sse;
  }

  /** The same bytes as a carrier wraps them, wrapped once for all readers: `wrap` must be the same function each time. */
  wrapped(wrap: (bytes: Buffer) => Buffer): Buffer {
    if (this.#wrapped?.by !== wrap) this.#wrapped = { by: wrap, bytes: wrap(this.sse) };
    return this.#wrapped.bytes;
  }
}
