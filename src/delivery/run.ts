import type { StreamId } from '../chat/ids.ts';
import type { Frame } from './frame.ts';

/** About how much a reader of a carrier that stays open is told at once. */
export const RUN_BYTES = 64 * 1024;

/** How a carrier turns events into the bytes that it sends at once. */
export type Encoding = (frames: readonly Frame[]) => Buffer;

export const NO_BYTES = Buffer.alloc(0);

/** Where nothing is encoded. */
export const NO_ENCODING: Encoding = () => NO_BYTES;

/**
 * What a reader is told at once: frames in order, after which everything up to `end` has been told.
 * Shared by all readers who stand in the same place, and so are the Buffers that it becomes.
 */
export class Run {
  readonly frames: readonly Frame[];
  readonly end: StreamId;
  /** What it became first; there is seldom more. */
  #encoded: { readonly by: Encoding; readonly bytes: Buffer } | undefined;
  #others: Map<Encoding, Buffer> | undefined;

  constructor(frames: readonly Frame[], end: StreamId) {
    this.frames = frames;
    this.end = end;
  }

  /** The bytes in one encoding, made once for all readers: `encode` must be the same function each time. */
  as(encode: Encoding): Buffer {
    this.#encoded ??= { by: encode, bytes: encode(this.frames) };
    if (this.#encoded.by === encode) return this.#encoded.bytes;
    const known = this.#others?.get(encode);
    if (known !== undefined) return known;
    const bytes = encode(this.frames);
    this.#others ??= new Map();
    this.#others.set(encode, bytes);
    return bytes;
  }
}
