import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { createGzip } from 'node:zlib';
import type { CutKind, OwnAnswer } from './habits.ts';

const GATEWAY_TIMEOUT: OwnAnswer = { status: 504, html: '<html><body>Gateway time-out</body></html>' };

/** An answer's first lines. */
export interface Head {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
}

/** The client's end of an answer. */
export class Outlet {
  head: Head | undefined;
  readonly #res: ServerResponse;
  readonly #gzip: ReturnType<typeof createGzip> | undefined;
  readonly #onCut: () => void;

  constructor(res: ServerResponse, { isZipped, onCut }: { isZipped: boolean; onCut: () => void }) {
    this.#res = res;
    this.#gzip = isZipped ? createGzip() : undefined;
    this.#gzip?.pipe(res);
    this.#onCut = onCut;
  }

  /** Sends status and headers. */
  begin(): void {
    if (this.head === undefined) return;
    const { status, headers } = this.head;
    const { 'content-length': _length, ...unsized } = headers;
    this.#res.writeHead(status, this.#gzip ? { ...unsized, 'content-encoding': 'gzip' } : headers);
    this.#res.flushHeaders();
  }

  write(chunk: Buffer): void {
    (this.#gzip ?? this.#res).write(chunk);
  }

  end(): void {
    (this.#gzip ?? this.#res).end();
  }

  /** What isn't begun can't be ended as if all had been said: that is a 504. */
  cut(how: CutKind): void {
    const { socket } = this.#res;
    if (how === 'torn') socket?.destroySoon();
    else if (this.head === undefined) reply(this.#res, GATEWAY_TIMEOUT);
    else if (how === 'clean') this.end();
    else socket?.end('400\r\nhalf a chunk');
    this.#onCut();
  }
}

/** Answers in the service's place. */
export function reply(res: ServerResponse, { status, html }: OwnAnswer): void {
  if (!res.headersSent) res.writeHead(status, { 'Content-Type': 'text/html' });
  if (!res.destroyed) res.end(html);
}

/** No whole answer came in time. */
export function replyTimeout(res: ServerResponse): void {
  reply(res, GATEWAY_TIMEOUT);
}
