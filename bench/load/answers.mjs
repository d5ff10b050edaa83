// HTTP/1.1 answers out of a byte stream: with a length, chunked, or none at all.
const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');

/** Calls `onAnswer(status, head, body)` for each whole answer; head is text in lower case as far as names go. */
export class Answers {
  #left = Buffer.alloc(0);
  #onAnswer;

  constructor(onAnswer) {
    this.#onAnswer = onAnswer;
  }

  take(chunk) {
    let bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    for (;;) {
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) break;
      const head = bytes.latin1Slice(0, end);
      const status = Number(head.slice(9, 12));
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
      let body;
      let next;
      if (length !== undefined) {
        next = end + 4 + Number(length);
        if (bytes.length < next) break;
        body = bytes.subarray(end + 4, next);
      } else if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
        const whole = unchunked(bytes, end + 4);
        if (!whole.isWhole) break;
        ({ body, next } = whole);
      } else {
        body = bytes.subarray(end + 4, end + 4);
        next = end + 4;
      }
      bytes = bytes.subarray(next);
      this.#onAnswer(status, head, body);
    }
    this.#left = bytes.length === 0 ? bytes : Buffer.from(bytes);
  }
}

/** The body of chunks from `at` on, as far as it is there. */
export function unchunked(bytes, at) {
  const parts = [];
  for (;;) {
    const lineEnd = bytes.indexOf(LINE_END, at);
    if (lineEnd < 0) break;
    const size = Number.parseInt(bytes.latin1Slice(at, lineEnd), 16);
    if (size === 0) return { isWhole: true, body: Buffer.concat(parts), next: lineEnd + 4 };
    const end = lineEnd + 2 + size;
    parts.push(bytes.subarray(lineEnd + 2, Math.min(end, bytes.length)));
    if (end + 2 > bytes.length) break;
    at = end + 2;
  }
  return { isWhole: false, body: Buffer.concat(parts), next: at };
}
