import type { Writable } from 'node:stream';
import type { Wire } from '../delivery/audience.ts';
import type { Frame } from '../delivery/frame.ts';
import type { Reader } from '../delivery/reader.ts';
import type { Encoding, Run } from '../delivery/run.ts';

/** The way to one reader's socket: says when that is full, has the reader go on when it has drained, and ends it if it never does. */
export class Outlet implements Wire {
  isFull = false;
  readonly out: Writable;
  readonly encoding: Encoding;
  readonly #reader: Reader;
  readonly #stallMs: number;
  /** Both only while it is full, and watched. */
  #stalled: NodeJS.Timeout | undefined;
  #drained: (() => void) | undefined;

  constructor(out: Writable, encoding: Encoding, reader: Reader, stallMs: number) {
    this.out = out;
    this.encoding = encoding;
    this.#reader = reader;
    this.#stallMs = stallMs;
  }

  tell(run: Run): void {
    this.write(run.as(this.encoding));
  }

  notice(frame: Frame): void {
    this.write(this.encoding([frame]));
  }

  write(bytes: Buffer): void {
    if (!this.out.write(bytes)) this.filled();
  }

  filled(): void {
    if (this.out.writableCorked > 0) this.out.uncork();
    // `false` alone says that a threshold was crossed; with nothing left to write there would be no `drain`.
    if (this.out.writableLength === 0 || this.isFull || this.#reader.ended) return;
    this.#reader.slowed();
    this.isFull = true;
    this.#stalled = setTimeout(() => this.#reader.end({ code: 'stalled' }), this.#stallMs);
    this.#drained = () => {
      this.stop();
      this.isFull = false;
      this.#reader.advance();
    };
    this.out.on('drain', this.#drained);
  }

  /** Stops watching the socket, which is somebody else's to close. */
  stop(): void {
    if (this.#drained === undefined) return;
    clearTimeout(this.#stalled);
    this.out.off('drain', this.#drained);
    this.#drained = undefined;
  }
}
