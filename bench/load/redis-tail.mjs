// A tail that asks Redis exactly what the service's does and reads all of the answers, but takes little CPU for it: every entry has
// one `~`, in its text, and ends with the line that this is in. So many of them fit beside what they are to measure.
import { readFacts } from '../../dist/log/journal.js';
import { connect } from './connection.mjs';

const MARKER = 0x7e;
const LINE_END = Buffer.from('\r\n');
const NOTHING = '*-1\r\n';
/** `*1`, `*2`, the journal's name, and how many entries follow. */
const HEAD = /^\*1\r\n\*2\r\n\$\d+\r\n[^\r]*\r\n\*(\d+)\r\n/;
const ENTRY_HEAD = /^\*2\r\n\$\d+\r\n([\d-]+)\r\n/;
const LONGEST_HEAD = 200;
const BLOCK_MS = 1000;
const CHECK_EVERY_MS = 1000;

export class RedisTail {
  entries = 0;
  reads = 0;
  bytes = 0;
  #connection;
  #checks;
  #keys;
  #batchEntries;
  #position;
  #left = Buffer.alloc(0);
  /** Entries of the answer that are still to come. */
  #due = 0;
  #checkedAt = performance.now();
  #onBroken;

  constructor({ port, keys, position, batchEntries, checks, onBroken }) {
    this.#keys = keys;
    this.#position = position;
    this.#batchEntries = batchEntries;
    this.#checks = checks;
    this.#onBroken = onBroken;
    this.#connection = connect(port, (chunk) => this.#take(chunk), onBroken);
    this.#read();
  }

  close() {
    this.#connection.close();
  }

  #read() {
    this.reads++;
    const words = [
      'XREAD',
      'COUNT',
      this.#batchEntries,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      this.#keys.journal,
      this.#position,
    ].map(String);
    this.#connection.write(
      `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`,
    );
  }

  #take(chunk) {
    this.bytes += chunk.length;
    const bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    let at = 0;
    if (this.#due === 0) {
      const head = bytes.latin1Slice(0, LONGEST_HEAD);
      if (head === NOTHING) return this.#next(bytes, NOTHING.length);
      const found = HEAD.exec(head);
      if (found === null) {
        if (head.startsWith('-') || bytes.length >= LONGEST_HEAD)
          this.#onBroken(`a tail was answered ${head}`);
        return this.#keep(bytes, 0);
      }
      at = found[0].length;
      this.#due = Number(found[1]);
    }
    while (this.#due > 0) {
      const marker = bytes.indexOf(MARKER, at);
      const end = marker < 0 ? -1 : bytes.indexOf(LINE_END, marker);
      if (end < 0) return this.#keep(bytes, at);
      if (this.#due === 1) [, this.#position] = ENTRY_HEAD.exec(bytes.latin1Slice(at, at + LONGEST_HEAD));
      this.#due--;
      this.entries++;
      at = end + LINE_END.length;
    }
    this.#next(bytes, at);
  }

  #keep(bytes, from) {
    this.#left = Buffer.from(bytes.subarray(from));
  }

  #next(bytes, from) {
    this.#keep(bytes, from);
    this.#read();
    if (performance.now() - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = performance.now();
    readFacts(this.#checks, this.#keys, this.#position).catch((error) => this.#onBroken(error.message));
  }
}
