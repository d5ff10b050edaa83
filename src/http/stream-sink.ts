import type { Response } from 'express';
import type { ByeNotice } from '../chat/entries.ts';
import { Frame } from '../delivery/frame.ts';
import type { StreamSink } from '../delivery/pulse.ts';
import type { Ending, Reader, Sink } from '../delivery/reader.ts';
import type { Run } from '../delivery/run.ts';

const RUN_BYTES = 64 * 1024;
const FLUSH_BYE_MS = 1000;
/** [spec] WHATWG HTML, 9.2.5: a line that begins with a colon is a comment. */
const PADDING = Buffer.from(`:${' '.repeat(2046)}\n\n`);

/** The `bye` of an ending. */
export function byeFrame({ code, retryMs }: Ending): Frame {
  const bye: ByeNotice =
    retryMs === undefined ? { kind: 'bye', code } : { kind: 'bye', code, retry: retryMs };
  return new Frame('bye', JSON.stringify(bye), retryMs === undefined ? {} : { retryMs });
}

/** A response that stays open. It is never written to while its socket is full, and ended if that lasts. */
export class ResponseStreamSink implements Sink, StreamSink {
  readonly maxBytes = RUN_BYTES;
  isFull = false;
  toldAt = performance.now();
  readonly #res: Response;
  readonly #stallMs: number;
  #stalled: NodeJS.Timeout | undefined;
  #onEnd: () => void = () => {};
  #reader: Reader | undefined;

  constructor(res: Response, stallMs: number) {
    this.#res = res;
    this.#stallMs = stallMs;
  }

  /** Sends status and headers, and from now on takes what is told. `onEnd` is called once, however it ends. */
  open(reader: Reader, onEnd: () => void): void {
    this.#reader = reader;
    this.#onEnd = onEnd;
    this.#res.on('drain', () => this.#drained());
    this.#res.flushHeaders();
  }

  tell(run: Run): void {
    this.toldAt = performance.now();
    this.#write(run.sse);
  }

  level(): void {}

  notice(frame: Frame): void {
    this.#write(frame.sse);
  }

  pad(): void {
    if (!this.isFull && !this.#res.writableEnded) this.#write(PADDING);
  }

  end(ending: Ending | undefined): void {
    clearTimeout(this.#stalled);
    this.#onEnd();
    if (!this.#res.headersSent) return;
    if (ending === undefined || ending.code === 'stalled') {
      this.#res.destroy();
      return;
    }
    this.#res.end(byeFrame(ending).sse);
    setTimeout(() => this.#res.destroy(), FLUSH_BYE_MS).unref();
  }

  #write(bytes: Buffer): void {
    // `false` alone says that a threshold was crossed; with nothing left to write there would be no `drain`.
    if (this.#res.write(bytes) || this.#res.writableLength === 0) return;
    this.isFull = true;
    this.#stalled ??= setTimeout(() => this.#reader?.end({ code: 'stalled' }), this.#stallMs);
  }

  #drained(): void {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.isFull = false;
    this.#reader?.advance();
  }
}
