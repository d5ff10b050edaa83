import type { Socket } from 'node:net';
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

const LINE_END = Buffer.from('\r\n');

/** [spec] RFC 9112, 7.1: a chunk is its size in hex, its data, and line ends behind both. */
function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, LINE_END]);
}

function plain(bytes: Buffer): Buffer {
  return bytes;
}

/**
 * A response that stays open. It is never written to while its socket is full, and ended if that lasts.
 * Once its head is out it writes to the socket: a chunk wrapped once goes to all readers, where `res.write` would wrap
 * it anew, in three pieces, for each. The response itself only ends the stream.
 */
export class ResponseStreamSink implements Sink, StreamSink {
  readonly maxBytes = RUN_BYTES;
  isFull = false;
  toldAt = performance.now();
  readonly #res: Response;
  readonly #stallMs: number;
  #stalled: NodeJS.Timeout | undefined;
  #onEnd: () => void = () => {};
  #reader: Reader | undefined;
  #out: Socket | Response;
  #wrap = plain;

  constructor(res: Response, stallMs: number) {
    this.#res = this.#out = res;
    this.#stallMs = stallMs;
  }

  /** Sends status and headers, and from now on takes what is told. `onEnd` is called once, however it ends. */
  open(reader: Reader, onEnd: () => void): void {
    this.#reader = reader;
    this.#onEnd = onEnd;
    this.#res.flushHeaders();
    // A response that waits for its turn on a pipelined connection has no socket yet.
    if (this.#res.socket) {
      this.#out = this.#res.socket;
      this.#wrap = this.#res.req.httpVersion === '1.1' ? chunk : plain;
    }
    this.#out.on('drain', this.#drained);
  }

  tell(run: Run): void {
    this.toldAt = performance.now();
    this.#write(run.wrapped(this.#wrap));
  }

  level(): void {}

  notice(frame: Frame): void {
    this.#write(this.#wrap(frame.sse));
  }

  pad(): void {
    if (!this.isFull && !this.#res.writableEnded) this.#write(this.#wrap(PADDING));
  }

  end(ending: Ending | undefined): void {
    clearTimeout(this.#stalled);
    this.#out.off('drain', this.#drained);
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
    if (this.#out.write(bytes) || this.#out.writableLength === 0) return;
    this.isFull = true;
    this.#stalled ??= setTimeout(() => this.#reader?.end({ code: 'stalled' }), this.#stallMs);
  }

  readonly #drained = (): void => {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.isFull = false;
    this.#reader?.advance();
  };
}
