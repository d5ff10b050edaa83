import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type { EndingCode } from '../chat/entries.ts';
import type { Frame } from '../delivery/frame.ts';
import type { Ending, Reader } from '../delivery/reader.ts';
import { type Encoding, RUN_BYTES, type Run } from '../delivery/run.ts';
import type { LastingSink } from './lasting.ts';
import { Outlet } from './outlet.ts';
import { byeFrame, FLUSH_BYE_MS } from './stream-sink.ts';

const FINAL_TEXT = 0x81;

/** [spec] RFC 6455, 5.2: a whole text message in one frame; a server's aren't masked. */
function textFrame(payload: Buffer): Buffer {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([FINAL_TEXT, length]), payload]);
  if (length < 65536) {
    const head = Buffer.from([FINAL_TEXT, 126, 0, 0]);
    head.writeUInt16BE(length, 2);
    return Buffer.concat([head, payload]);
  }
  const head = Buffer.from([FINAL_TEXT, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(length, 6);
  return Buffer.concat([head, payload]);
}

const inTextFrames: Encoding = (frames) =>
  Buffer.concat(frames.map(({ jsonWithCursor }) => textFrame(jsonWithCursor)));

/** [spec] RFC 6455, 7.4.1: 1000 normal, 1001 going away, 1008 policy. */
function closeCodeOf(code: EndingCode): number {
  if (code === 'shutting_down') return 1001;
  return code === 'session_ended' ? 1008 : 1000;
}

/**
 * A WebSocket. Events are written to its socket as frames made once for all readers; pings, pongs and closing are the
 * library's, which writes whole frames as well.
 */
export class SocketSink implements LastingSink {
  readonly carrier = 'websocket';
  readonly maxBytes = RUN_BYTES;
  readonly #socket: Duplex;
  readonly #stallMs: number;
  #webSocket: WebSocket | undefined;
  #outlet: Outlet | undefined;
  #onEnd: () => void = () => {};

  constructor(socket: Duplex, stallMs: number) {
    this.#socket = socket;
    this.#stallMs = stallMs;
  }

  get isFull(): boolean {
    return this.#outlet?.isFull === true;
  }

  /** The upgrade was accepted. */
  accept(webSocket: WebSocket): void {
    this.#webSocket = webSocket;
  }

  open(reader: Reader, onEnd: () => void): void {
    this.#onEnd = onEnd;
    this.#outlet = new Outlet(this.#socket, inTextFrames, reader, this.#stallMs);
  }

  tell(run: Run): void {
    if (this.#isOpen) this.#outlet?.tell(run);
  }

  level(): void {}

  notice(frame: Frame): void {
    if (this.#isOpen) this.#outlet?.notice(frame);
  }

  /** Proxies that hold a beginning back look at HTTP, not at frames. */
  settle(): boolean {
    return false;
  }

  pad(): void {}

  end(ending: Ending | undefined): void {
    this.#outlet?.stop();
    this.#onEnd();
    const webSocket = this.#webSocket;
    if (webSocket === undefined) return;
    if (ending !== undefined && ending.code !== 'stalled') {
      this.notice(byeFrame(ending));
      webSocket.close(closeCodeOf(ending.code), ending.code);
    } else if (webSocket.readyState === WebSocket.OPEN) {
      webSocket.terminate();
    }
    setTimeout(() => this.#socket.destroy(), FLUSH_BYE_MS).unref();
  }

  /** After either side's close frame nothing may follow: that is why it isn't told past this. */
  get #isOpen(): boolean {
    return this.#webSocket?.readyState === WebSocket.OPEN;
  }
}
