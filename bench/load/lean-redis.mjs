// As much of a Redis client as the service's appender and its reading of sessions need, taking little CPU: what is asked within one
// turn is sent as one write, as ioredis does it for the service.
import { connect } from './connection.mjs';

const LINE_END = Buffer.from('\r\n');

export class LeanRedis {
  status = 'ready';
  #connection;
  #unsent = [];
  #settlers = [];
  #left = Buffer.alloc(0);

  constructor(port, onBroken) {
    this.#connection = connect(port, (chunk) => this.#take(chunk), onBroken);
  }

  evalsha(sha1, keyCount, ...lists) {
    return this.#ask(['EVALSHA', sha1, keyCount, ...lists.flat()]);
  }

  eval(source, keyCount, ...lists) {
    return this.#ask(['EVAL', source, keyCount, ...lists.flat()]);
  }

  get(key) {
    return this.#ask(['GET', key]);
  }

  #ask(words) {
    let text = `*${words.length}\r\n`;
    for (const word of words) text += `$${Buffer.byteLength(`${word}`)}\r\n${word}\r\n`;
    if (this.#unsent.length === 0)
      setImmediate(() => this.#connection.write(this.#unsent.splice(0).join('')));
    this.#unsent.push(text);
    return new Promise((resolve, reject) => this.#settlers.push({ resolve, reject }));
  }

  #take(chunk) {
    const bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    let at = 0;
    let settled = 0;
    for (let answer = answerAt(bytes, at); answer !== undefined; answer = answerAt(bytes, at)) {
      const { resolve, reject } = this.#settlers[settled++];
      if (answer.value instanceof Error) reject(answer.value);
      else resolve(answer.value);
      at = answer.next;
    }
    this.#settlers.splice(0, settled);
    this.#left = Buffer.from(bytes.subarray(at));
  }
}

/** The answer that begins at `at`, and where the next one does; undefined where not all of it is there. */
function answerAt(bytes, at) {
  const lineEnd = bytes.indexOf(LINE_END, at);
  if (lineEnd < 0) return undefined;
  const type = String.fromCharCode(bytes[at]);
  const line = bytes.latin1Slice(at + 1, lineEnd);
  let next = lineEnd + LINE_END.length;
  if (type === '-') return { value: new Error(line), next };
  if (type !== '$' && type !== '*') return { value: line, next };
  const size = Number(line);
  if (size < 0) return { value: null, next };
  if (type === '$') {
    const end = next + size + LINE_END.length;
    return end > bytes.length ? undefined : { value: bytes.latin1Slice(next, next + size), next: end };
  }
  const value = [];
  for (let i = 0; i < size; i++) {
    const item = answerAt(bytes, next);
    if (item === undefined) return undefined;
    value.push(item.value);
    next = item.next;
  }
  return { value, next };
}
