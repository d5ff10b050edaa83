// The load generator, a process of its own that bench/run.mjs commands over IPC. Raw sockets that speak just enough
// HTTP; nothing that arrives is parsed: every message's text has one `~`, a byte that occurs nowhere else and that no
// chunk border can split, so a reader's n-th `~` is its n-th message.
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';

const MARKER = 0x7e;
const TEXT = `~${'The quick brown fox jumps over the lazy dog. '.repeat(2)}`;
const OK = Buffer.from('HTTP/1.1 200 ');
/** Fewer than a listening socket's backlog (511 with Node): beyond it the kernel drops, and tries again after 1 s. */
const MAX_UNANSWERED = 400;
/** All sockets read into the same memory: each chunk is counted before the next is read. */
const memory = Buffer.allocUnsafe(256 * 1024);

let target;
let readers = [];
let posters = [];
let total = 0;
let broken;
/** Called with a reader and its count before and after each chunk that had messages. */
let onMessages = () => {};

class Reader {
  count = 0;
  isOpen = false;
  #isClosed = false;

  constructor(path, headers) {
    this.opened = new Promise((resolve) => {
      this.socket = net.connect({
        port: target.port,
        host: '127.0.0.1',
        onread: {
          buffer: memory,
          callback: (size) => {
            if (!this.isOpen) {
              this.isOpen = true;
              if (!memory.subarray(0, OK.length).equals(OK))
                fail(`a reader was answered ${memory.toString('latin1', 0, Math.min(size, 300))}`);
              resolve();
            }
            this.#take(memory.subarray(0, size));
            return true;
          },
        },
      });
    });
    this.socket.on('error', (error) => this.#isClosed || fail(`a reader's socket: ${error.message}`));
    this.socket.on('close', () => this.#isClosed || fail('a reader was disconnected'));
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n${headers}\r\n`);
  }

  #take(bytes) {
    const before = this.count;
    for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + 1)) this.count++;
    if (this.count === before) return;
    total += this.count - before;
    onMessages(before, this.count);
  }

  close() {
    this.#isClosed = true;
    this.socket.destroy();
  }
}

/** A kept connection that has one post under way at most. */
class Poster {
  isFree = true;
  #text = '';
  #resolve;
  #socket;
  #request;

  constructor(index) {
    const body = JSON.stringify({ ...target.body, text: TEXT });
    this.#request =
      `POST ${target.postPath} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n${headersOf(index)}` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    this.#socket = net.connect({ port: target.port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('error', (error) => fail(`a post's socket: ${error.message}`));
    this.#socket.on('data', (chunk) => this.#hear(chunk));
  }

  post() {
    this.isFree = false;
    this.#socket.write(this.#request);
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #hear(chunk) {
    this.#text += chunk;
    const end = this.#text.indexOf('\r\n\r\n');
    const length = end < 0 ? undefined : /content-length: (\d+)/i.exec(this.#text)?.[1];
    if (length === undefined || this.#text.length < end + 4 + Number(length)) return;
    const text = this.#text;
    this.#text = '';
    this.isFree = true;
    if (!text.startsWith('HTTP/1.1 201')) return fail(`a post was answered ${text.slice(0, 600)}`);
    this.#resolve(JSON.parse(text.slice(end + 4)).id);
  }

  close() {
    this.#socket.removeAllListeners('error').on('error', () => {});
    this.#socket.destroy();
  }
}

/** Opens readers as fast as they are answered. */
function openReaders(count, path) {
  readers = [];
  const next = () => {
    if (readers.length === count) return;
    const reader = new Reader(path, headersOf(readers.length));
    readers.push(reader);
    reader.opened.then(next);
  };
  for (let i = 0; i < MAX_UNANSWERED; i++) next();
}

function fail(why) {
  broken ??= new Error(why);
}

function headersOf(index) {
  const { cookies } = target;
  return cookies.length === 0 ? '' : `Cookie: ${cookies[index % cookies.length]}\r\n`;
}

/** Waits until something holds; throws when it takes too long or when the load broke. */
async function until(holds, ms, what) {
  const end = performance.now() + ms;
  while (!holds()) {
    if (broken) throw broken;
    if (performance.now() > end) throw new Error(`not reached within ${ms} ms: ${what}`);
    await pause(2);
  }
}

/** Runs a phase and adds the share of a core that this process took meanwhile. */
async function measured(phase) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const figures = await phase();
  const { user, system } = process.cpuUsage(cpu);
  return { loadCpu: (user + system) / 1000 / (performance.now() - start), ...figures };
}

const phases = {
  /** Opens the readers and the connections for posts. */
  async open({ count, posts }) {
    openReaders(count, target.streamPath);
    posters = Array.from({ length: posts }, (_, i) => new Poster(i));
    await until(
      () => readers.length === count && readers.every((reader) => reader.isOpen),
      15_000,
      'all readers open',
    );
    return {};
  },

  /** Closed loop: a further message is posted whenever fewer than `inFlight` haven't reached every reader. */
  async fanOut({ warmMs, ms, inFlight }) {
    for (const reader of readers) reader.count = 0;
    const reached = [];
    let posted = 0;
    let done = 0;
    let isOver = false;
    const pump = () => {
      while (!isOver && !broken && posted - done < inFlight) {
        const poster = posters.find((one) => one.isFree);
        if (poster === undefined) return;
        reached[posted++] = 0;
        poster.post().then(pump);
      }
    };
    onMessages = (before, after) => {
      for (let k = before; k < after; k++) reached[k]++;
      if (reached[done] < readers.length) return;
      while (reached[done] === readers.length) done++;
      pump();
    };
    pump();
    await pause(warmMs);
    const figures = await measured(async () => {
      const before = total;
      const start = performance.now();
      process.send({ mark: 'start' });
      await pause(ms);
      const events = total - before;
      process.send({ mark: 'end' });
      return { events, eventsPerSecond: events / ((performance.now() - start) / 1000) };
    });
    isOver = true;
    await until(() => done === posted && posters.every((one) => one.isFree), 10_000, 'all delivered');
    onMessages = () => {};
    return figures;
  },

  /** A steady pace. One message before, for its id: a cursor `count` messages back. */
  async latency({ perSecond, count }) {
    const before = readers[0].count;
    const anchor = await posters[0].post();
    await until(() => readers.every((reader) => reader.count === before + 1), 5000, 'the anchor');
    for (const reader of readers) reader.count = 0;
    const times = [];
    const delays = new Float64Array(count * readers.length);
    let heard = 0;
    onMessages = (before, after) => {
      const now = performance.now();
      for (let k = before; k < after; k++) delays[heard++] = now - times[k];
    };
    const figures = await measured(async () => {
      const start = performance.now();
      for (let k = 0; k < count; k++) {
        await pause(Math.max(0, start + (k * 1000) / perSecond - performance.now()));
        const poster = posters.find((one) => one.isFree);
        if (poster === undefined) throw new Error('not reached: no connection free for a post');
        times.push(performance.now());
        poster.post();
      }
      await until(() => heard === delays.length, 10_000, 'all delivered at a steady pace');
      return {};
    });
    onMessages = () => {};
    delays.sort();
    const at = (share) => delays[Math.ceil(delays.length * share) - 1];
    return { ...figures, anchor, p50: at(0.5), p99: at(0.99), max: at(1) };
  },

  /** All readers leave; then `count` come back at once from a cursor, until the last has `expected` messages. */
  async reconnect({ count, path, expected }) {
    for (const reader of readers) reader.close();
    await pause(700);
    const figures = await measured(async () => {
      const start = performance.now();
      let level = 0;
      let end = 0;
      onMessages = (before, after) => {
        if (before < expected && after >= expected && ++level === count) end = performance.now();
      };
      openReaders(count, path);
      await until(() => level === count, 20_000, `${count} readers level`);
      return { levelMs: end - start };
    });
    await pause(200);
    onMessages = () => {};
    const wrong = readers.filter((reader) => reader.count !== expected).length;
    if (wrong > 0) throw new Error(`${wrong} readers got more or less than ${expected} messages`);
    return figures;
  },

  async close() {
    for (const one of [...readers, ...posters]) one.close();
    return {};
  },
};

process.on('message', async ({ phase, target: where, ...options }) => {
  target = where ?? target;
  try {
    const figures = await phases[phase](options);
    if (broken) throw broken;
    process.send({ figures });
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on('disconnect', () => process.exit(0));
