// For the yardstick of bare-http.mjs: whoever streams or posts is known by a signed cookie and a session in Redis, read once; streams say
// hello, and half a second later a heartbeat proves them. It spares itself more than a service can: what was read is kept for good,
// and nobody hears that a session ended, though it is kept who would be told.
import { randomUUID } from 'node:crypto';
import { parseCookie } from 'cookie';
import { sign, unsign } from 'cookie-signature';

const SECRET = 'known to the yardstick alone';
const LIFE_S = 3600;
const PROOF_AFTER_MS = 500;

/** The same as Throughline's. */
export const STREAM_HEAD = {
  'Cache-Control': 'no-cache, no-store, no-transform',
  'X-Content-Type-Options': 'nosniff',
  Throughline: '1',
  Vary: 'Origin',
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Content-Encoding': 'identity',
  'X-Accel-Buffering': 'no',
};

/** Sessions in Redis; what was read once is kept, and a signature that was found good isn't checked again. */
export class BareSessions {
  #redis;
  #sids = new Map();
  #kept = new Map();
  /** Whom a log-out would end. */
  #reading = new Map();

  constructor(redis) {
    this.#redis = redis;
  }

  /** Answers the cookie. */
  async open(user) {
    const sid = randomUUID();
    await this.#redis.set(keyOf(sid), JSON.stringify({ user }), 'EX', LIFE_S);
    return `bare=${encodeURIComponent(`s:${sign(sid, SECRET)}`)}; Path=/; HttpOnly`;
  }

  /** Whose session a request's cookie stands for. */
  of(req) {
    const cookie = parseCookie(req.headers.cookie ?? '').bare ?? '';
    const sid = this.#sids.get(cookie) ?? this.#verify(cookie);
    let session = this.#kept.get(sid);
    if (session === undefined) {
      session = this.#read(sid);
      this.#kept.set(sid, session);
      session.catch(() => this.#kept.delete(sid));
    }
    return session;
  }

  listen({ sid }, socket) {
    this.#reading.set(sid, socket);
    socket.once('close', () => this.#reading.get(sid) === socket && this.#reading.delete(sid));
  }

  #verify(cookie) {
    const sid = unsign(cookie.slice('s:'.length), SECRET);
    if (sid === false) throw new Error('no session');
    this.#sids.set(cookie, sid);
    return sid;
  }

  async #read(sid) {
    const stored = await this.#redis.get(keyOf(sid));
    if (stored === null) throw new Error('no session');
    return { sid, ...JSON.parse(stored) };
  }
}

/** The chunk that names the stream. */
export function hello() {
  const notice = { kind: 'hello', nonce: randomUUID(), heartbeat: 15_000, lease: 60_000 };
  return chunkOf(`retry: 1000\nevent: hello\ndata: ${JSON.stringify(notice)}\n\n`);
}

/** Has a heartbeat follow, with the place that was reached by then. */
export function prove(socket, cursorNow) {
  const beat = () => `id: ${cursorNow()}\nevent: heartbeat\ndata: {"kind":"heartbeat","n":1}\n\n`;
  const timer = setTimeout(() => socket.write(chunkOf(beat())), PROOF_AFTER_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** [spec] RFC 9112, 7.1. */
export function chunkOf(event) {
  const bytes = Buffer.from(event);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

function keyOf(sid) {
  return `bare:session:${sid}`;
}
