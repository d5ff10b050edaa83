/** Those that there are many of say all of it, in this order, so that V8 sees one shape. */
interface FrameOptions {
  /** Where a client that has seen this event goes on from; without it the client's own stays. */
  readonly cursor?: string | undefined;
  readonly retryMs?: number | undefined;
  /** It will be there for long. */
  readonly isKept?: boolean;
}

/**
 * One event, encoded once: the bytes of its Server-Sent-Events form, within which its JSON stands as a slice. Every reader
 * and every carrier shares them. [spec] WHATWG HTML, 9.2.6 Interpreting an event stream: JSON has no raw line ends, so one
 * `data:` line carries it whole. [spec] RFC 9112, 7.1: around them stands what makes a chunk of them.
 */
export class Frame {
  readonly kind: string;
  /** The event as one chunk of a chunked body. */
  readonly chunk: Buffer;
  /** How many bytes its Server-Sent-Events form has. */
  readonly length: number;
  readonly #start: number;
  readonly #jsonStart: number;
  readonly #cursorEnd: number;

  constructor(kind: string, json: string, { cursor, retryMs, isKept }: FrameOptions = {}) {
    const id = cursor === undefined ? '' : `id: ${cursor}\n`;
    const event = kind === 'message' ? '' : `event: ${kind}\n`;
    const retry = retryMs === undefined ? '' : `retry: ${retryMs}\n`;
    const head = `${id}${event}${retry}data: `;
    const headBytes = Buffer.byteLength(head);
    this.kind = kind;
    this.length = headBytes + Buffer.byteLength(json) + 2;
    const size = this.length.toString(16);
    const text = `${size}\r\n${head}${json}\n\n\r\n`;
    this.chunk = isKept ? bufferOfItsOwn(text, size.length + this.length + 4) : Buffer.from(text);
    this.#start = size.length + 2;
    this.#jsonStart = this.#start + headBytes;
    this.#cursorEnd = Math.max(0, id.length - 1);
  }

  /** The event's Server-Sent-Events form. */
  get sse(): Buffer {
    return this.chunk.subarray(this.#start, this.#start + this.length);
  }

  /** The event's JSON, as polls carry it. */
  get json(): Buffer {
    return this.chunk.subarray(this.#jsonStart, this.#start + this.length - 2);
  }

  /** The event's JSON with its cursor as a last field `cursor`, for carriers that have no `id:` beside the data. */
  get jsonWithCursor(): Buffer {
    if (this.#cursorEnd === 0) return this.json;
    const cursor = this.sse.toString('latin1', 'id: '.length, this.#cursorEnd);
    return Buffer.concat([this.json.subarray(0, -1), Buffer.from(`,"cursor":"${cursor}"}`)]);
  }
}

/** `Buffer.from` cuts small ones out of a pool's 8 KB, all of which stay as long as one of them: among those soon gone, 8 KB each. */
function bufferOfItsOwn(text: string, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  bytes.write(text);
  return bytes;
}
