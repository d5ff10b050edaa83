import type { Socket } from 'node:net';
import type { Response } from 'express';
import type { ByeNotice } from '../chat/entries.ts';
import type { Wire } from '../delivery/audience.ts';
import type { CarrierName } from '../delivery/counts.ts';
import { Frame } from '../delivery/frame.ts';
import type { Ending, Reader } from '../delivery/reader.ts';
import { type Encoding, RUN_BYTES, type Run } from '../delivery/run.ts';
import type { LastingSink } from './lasting.ts';
import type { OpenConnections } from './open-connections.ts';
import { Outlet } from './outlet.ts';
import { type RequestLine, takeLine } from './request-log.ts';
import { whenOver } from './when-over.ts';

/** How long a client has to take the `bye` and close. */
export const FLUSH_BYE_MS = 1000;
/** [spec] WHATWG HTML, 9.2.5: a line that begins with a colon is a comment. */
export const PADDING = Buffer.from(`:${' '.repeat(2046)}\n\n`);

/** The `bye` of an ending. */
export function byeFrame({ code, retryMs }: Ending): Frame {
  const bye: ByeNotice =
    retryMs === undefined ? { kind: 'bye', code } : { kind: 'bye', code, retry: retryMs };
  return new Frame('bye', JSON.stringify(bye), { retryMs });
}

/** One for all. */
const NOTHING = (): void => {};
const LINE_END = Buffer.from('\r\n');

/** [spec] RFC 9112, 7.1: a chunk is its size in hex, its data, and line ends behind both. */
function chunked(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, LINE_END]);
}

const inEvents: Encoding = (frames) =>
  frames.length === 1 && frames[0] ? frames[0].sse : Buffer.concat(frames.map(({ sse }) => sse));

const inChunkedEvents: Encoding = (frames) =>
  frames.length === 1 && frames[0] ? frames[0].chunk : chunked(inEvents(frames));

const CHUNKED_PADDING = chunked(PADDING);

/** [spec] RFC 9112, 7.1: the end of a chunked body. */
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/**
 * A response that stays open. It is never written to while its socket is full, but for the heartbeat that proves it, and ended if that lasts.
 * Once its head is out it writes to the socket: a chunk wrapped once goes to all readers, where `res.write` would wrap
 * it anew, in three pieces, for each. Where the server is our own it holds the socket alone from then on, and neither
 * request nor response; elsewhere the response itself ends the stream.
 */
export class ResponseStreamSink implements LastingSink {
  readonly carrier: CarrierName;
  readonly maxBytes = RUN_BYTES;
  readonly #stallMs: number;
  readonly #connections: OpenConnections | undefined;
  #res: Response | undefined;
  #held: Socket | undefined;
  /** What the log is owed of a stream that outlived its response. */
  #line: RequestLine | undefined;
  #onLeft = NOTHING;
  #onEnd = NOTHING;
  #outlet: Outlet | undefined;

  constructor(
    res: Response,
    { stallMs }: { readonly stallMs: number },
    connections: OpenConnections | undefined,
  ) {
    this.#res = res;
    this.carrier = res.req.method === 'POST' ? 'post-stream' : 'sse';
    this.#stallMs = stallMs;
    this.#connections = connections;
  }

  get isFull(): boolean {
    return this.#outlet?.isFull === true;
  }

  get wire(): Wire | undefined {
    return this.#outlet;
  }

  /** Ends the reader when its client goes. */
  follow(reader: Reader): void {
    this.#onLeft = () => reader.end();
    whenOver(this.#res as Response, () => {
      if (this.#held === undefined) this.#onLeft();
    });
  }

  /** Writes status and headers, and from now on takes what is told. Unless that fills the socket, nothing goes out before `settle`. */
  open(reader: Reader, onEnd: () => void): void {
    this.#onEnd = onEnd;
    const res = this.#res as Response;
    // A response that waits for its turn on a pipelined connection has no socket yet.
    const { socket } = res;
    socket?.cork();
    res.flushHeaders();
    const isChunked = socket !== null && res.req.httpVersion === '1.1';
    const encoding = isChunked ? inChunkedEvents : inEvents;
    this.#outlet = new Outlet(socket ?? res, encoding, reader, this.#stallMs);
  }

  /**
   * Head, `hello` and what is caught up on from the window were told, and go out in one write, unless that filled the socket before; from
   * now on the connection is held, if it can be. Nothing happens where the stream didn't open, or waits for its turn on a pipelined
   * connection.
   */
  settle(): boolean {
    const res = this.#res;
    const socket = res?.socket;
    if (!res || !socket || this.#outlet?.out !== socket) return true;
    // What filled the socket is on its way.
    const isFilled = socket.writableCorked === 0 || socket.writableLength > 2 * PADDING.length;
    socket.uncork();
    const isOver = res.writableEnded || res.destroyed;
    const isChunked = this.#outlet.encoding === inChunkedEvents;
    if (isChunked && !isOver && this.#connections?.hold(res)) this.#hold(res, socket);
    return !isFilled;
  }

  #hold(res: Response, socket: Socket): void {
    this.#line = takeLine(res);
    socket.once('close', this.#onLeft);
    this.#held = socket;
    this.#res = undefined;
  }

  tell(run: Run): void {
    this.#outlet?.tell(run);
  }

  level(): void {}

  notice(frame: Frame): void {
    this.#outlet?.notice(frame);
  }

  pad(): void {
    if (!this.isFull) this.#outlet?.write(this.#outlet.encoding === inEvents ? PADDING : CHUNKED_PADDING);
  }

  end(ending: Ending | undefined): void {
    this.#outlet?.stop();
    this.#onEnd();
    if (this.#res) endResponse(this.#res, ending, (ending) => byeFrame(ending).sse);
    if (this.#held) this.#letGo(this.#held, ending);
  }

  #letGo(socket: Socket, ending: Ending | undefined): void {
    this.#line?.write(200);
    if (ending === undefined || ending.code === 'stalled') {
      socket.destroy();
      return;
    }
    socket.off('close', this.#onLeft);
    const late = setTimeout(() => socket.destroy(), FLUSH_BYE_MS).unref();
    socket.write(Buffer.concat([byeFrame(ending).chunk, LAST_CHUNK]), () => {
      clearTimeout(late);
      this.#connections?.release(socket);
    });
  }
}

/** Ends a response that streams: with its last words, if somebody is there to hear them. */
export function endResponse(
  res: Response,
  ending: Ending | undefined,
  lastWords: (ending: Ending) => Buffer | string,
): void {
  if (!res.headersSent) return;
  if (ending === undefined || ending.code === 'stalled') {
    res.destroy();
    return;
  }
  res.end(lastWords(ending));
  setTimeout(() => res.destroy(), FLUSH_BYE_MS).unref();
}
