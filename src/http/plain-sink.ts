import type { Response } from 'express';
import type { Frame } from '../delivery/frame.ts';
import type { Ending, Reader } from '../delivery/reader.ts';
import { RUN_BYTES, type Run } from '../delivery/run.ts';
import type { LastingSink } from './lasting.ts';
import { Outlet } from './outlet.ts';
import type { EntryPrinter } from './plain-entries.ts';
import { FOOT, html, type Markup } from './plain-html.ts';
import { endResponse } from './stream-sink.ts';

/** Filler that isn’t shown, for proxies that hold a response’s beginning back. */
const PADDING = Buffer.from(`<!--${' '.repeat(2040)}-->\n`);

interface LiveOptions {
  readonly stallMs: number;
  /** How often the browser is asked for a proof that it is told. */
  readonly heartbeatMs: number;
  /** Hang up as soon as all has been told. */
  readonly isShort: boolean;
  readonly opening: Markup;
  /** What makes a browser without script answer, when it gets there: a picture to be fetched. */
  readonly proof: (n: number) => Markup;
  /** The last words, where there is something to say. */
  readonly closing: (ending: Ending) => Markup | undefined;
}

/**
 * An HTML document that stays open: news comes as markup, heartbeats as pictures that the browser fetches.
 * Its response ends with its connection, so that it is a whole one wherever it is cut: Chromium doesn’t follow the
 * `Refresh` of one whose last chunk is missing. [spec] RFC 9112, 6.3: close-delimited.
 */
export class LiveSink implements LastingSink {
  readonly carrier = 'plain';
  readonly maxBytes = RUN_BYTES;
  readonly #res: Response;
  readonly #printer: EntryPrinter;
  readonly #options: LiveOptions;
  #proofs = 0;
  #provedAt = 0;
  #onEnd: () => void = () => {};
  #outlet: Outlet | undefined;

  constructor(res: Response, printer: EntryPrinter, options: LiveOptions) {
    this.#res = res;
    this.#printer = printer;
    this.#options = options;
  }

  get isFull(): boolean {
    return this.#outlet?.isFull === true;
  }

  open(reader: Reader, onEnd: () => void): void {
    this.#onEnd = onEnd;
    this.#res.useChunkedEncodingByDefault = false;
    this.#res.set('Connection', 'close').flushHeaders();
    const { socket } = this.#res;
    this.#outlet = new Outlet(socket ?? this.#res, this.#printer.inHtml, reader, this.#options.stallMs);
    this.#write(Buffer.from(this.#options.opening.text));
  }

  tell(run: Run): void {
    this.#outlet?.tell(run);
    // No heartbeat comes while there is news, so the news itself must ask.
    if (performance.now() - this.#provedAt >= this.#options.heartbeatMs) this.#prove();
  }

  level(reader: Reader): void {
    if (this.#options.isShort) reader.end({ code: 'max_age' });
  }

  notice({ kind }: Frame): void {
    if (kind === 'hello' || kind === 'heartbeat') this.#prove();
  }

  settle(): boolean {
    return true;
  }

  pad(): void {
    if (!this.isFull && !this.#res.writableEnded) this.#write(PADDING);
  }

  end(ending: Ending | undefined): void {
    this.#outlet?.stop();
    this.#onEnd();
    endResponse(this.#res, ending, (ending) => html`</div>${this.#options.closing(ending)}${FOOT}`.text);
  }

  #prove(): void {
    this.#provedAt = performance.now();
    if (!this.#options.isShort) this.#write(Buffer.from(this.#options.proof(this.#proofs++).text));
  }

  #write(bytes: Buffer): void {
    this.#outlet?.write(bytes);
  }
}
