/**
 * One event, encoded once: the bytes of its Server-Sent-Events form, within which its JSON stands as a slice.
 * Every reader and every carrier shares them. [spec] WHATWG HTML, 9.2.6 Interpreting an event stream: JSON has no raw
 * line ends, so one `data:` line carries it whole.
 */
export class Frame {
  readonly kind: string;
  readonly sse: Buffer;
  readonly #jsonStart: number;

  /** `cursor`: where a client that has seen this event goes on from; without it the client's own stays. */
  constructor(kind: string, json: string, options: { cursor?: string; retryMs?: number } = {}) {
    const { cursor, retryMs } = options;
    const id = cursor === undefined ? '' : `id: ${cursor}\n`;
    const event = kind === 'message' ? '' : `event: ${kind}\n`;
    const retry = retryMs === undefined ? '' : `retry: ${retryMs}\n`;
    const head = `${id}${event}${retry}data: `;
    this.kind = kind;
    this.sse = Buffer.from(`${head}${json}\n\n`);
    this.#jsonStart = head.length;
  }

  /** The event's JSON, as polls carry it. */
  get json(): Buffer {
    return this.sse.subarray(this.#jsonStart, this.sse.length - 2);
  }
}
