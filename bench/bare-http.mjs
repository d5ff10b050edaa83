// As little as accepts a post by HTTP, has it in Redis before it is answered, and tells it to those who read the room: node:http
// and one write a reader, but no session and no check; who resumes, or polls, is told what is kept in memory and follows the id that
// was named, whatever that is. A yardstick of `npm run bench`: what Node can reach at best on this road. It answers the part of
// Throughline's wire that the bench asks. STEP says what a post is in Redis:
//   xadd     one XADD
//   append   what Throughline writes: journal, room log, count, pace, by its own script and in its own batches
// With EXPRESS=1 all requests come through Express, posts through its JSON parser, on the server that Throughline makes for it.
// With SESSIONS=1 beside it, it knows who streams and who posts, and proves its streams.
import { createServer } from 'node:http';
import express from 'express';
import { Redis } from 'ioredis';
import { serverFactory } from '../dist/http/app-server.js';
import { Appender } from '../dist/log/append.js';
import { Keys } from '../dist/log/keys.js';
import { BareSessions, chunkOf, hello, prove, STREAM_HEAD } from './bare-sessions.mjs';
import { messageOf } from './dialects/message.mjs';

const { PORT = '0', REDIS_PORT, STEP, EXPRESS, SESSIONS } = process.env;
const LIMITS = { journalEntries: 100_000, roomLogEntries: 10_000, postsPerSecond: 1000, postBurst: 1000 };
const redis = new Redis(Number(REDIS_PORT), '127.0.0.1', { enableAutoPipelining: true });
const keys = new Keys('bare');
const appender = new Appender(redis, keys, LIMITS);
const sessions = SESSIONS ? new BareSessions(redis) : undefined;
const journal = STEP === 'append' ? keys.journal : 'messages';
const rooms = new Map();
const BARE_HEAD = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' };
/** Messages kept of each room. */
const KEPT = 1000;
let people = 0;

/** Who reads a room, who waits for its next message, and its messages: each one's id, JSON and chunk of an event stream. */
function roomAt(address) {
  let room = rooms.get(address);
  if (room === undefined) {
    room = { readers: new Set(), waiting: [], kept: [], missed: new Map() };
    rooms.set(address, room);
  }
  return room;
}

/** The room that is read and the id after which; without it from now on. */
function askedOf(url) {
  const parameters = new URLSearchParams(url.slice(url.indexOf('?')));
  return {
    room: roomAt(`room:main/${parameters.get('rooms')}`),
    after: parameters.get('after')?.slice('bare.'.length),
  };
}

function lastOf({ kept }) {
  return kept.at(-1)?.id ?? '0-0';
}

/** What follows an id, shared by all who ask for the same. */
function missedOf(room, after, encode) {
  const last = lastOf(room);
  if (after === undefined || after === last) return undefined;
  const key = `${encode.name} ${after} ${last}`;
  let missed = room.missed.get(key);
  if (missed === undefined) {
    const at = room.kept.findIndex(({ id }) => id === after);
    missed = encode(room.kept.slice(at + 1), last);
    room.missed.clear();
    room.missed.set(key, missed);
  }
  return missed;
}

const inChunks = (kept) => Buffer.concat(kept.map(({ chunk }) => chunk));
const inAnswer = (kept, last) =>
  Buffer.from(`{"events":[${kept.map(({ json }) => json).join(',')}],"cursor":"bare.${last}"}`);

const steps = {
  async xadd(room, user, text) {
    return redis.xadd(
      journal,
      'MAXLEN',
      '~',
      String(LIMITS.journalEntries),
      '*',
      'to',
      `room:main/${room}`,
      'data',
      messageOf(room, text, user),
    );
  },
  async append(room, user, text) {
    const by = { id: `guest-${user}`, name: `bench ${user}`, guest: true };
    return (await appender.post(`main/${room}`, `main/${by.id}`, by, { text })).id;
  },
};

async function answer(req, res, body) {
  const [, , what, room] = req.url.split('/');
  if (room !== undefined) {
    const user = sessions ? (await sessions.of(req)).user : /\d+/.exec(req.headers.cookie)[0];
    const id = await steps[STEP](room, user, body.text);
    return say(res, { id });
  }
  if (what === 'rooms') await redis.hset(keys.room(`main/${body.room}`), 'title', 'x');
  else res.setHeader('Set-Cookie', (await sessions?.open(people++)) ?? `bare=${people++}; Path=/`);
  say(res, {});
}

function say(res, value) {
  const json = JSON.stringify(value);
  res.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': json.length });
  res.end(json);
}

function stream(req, res, head = BARE_HEAD, first = undefined) {
  const { room, after } = askedOf(req.url);
  const { socket } = res;
  socket.cork();
  res.writeHead(200, head).flushHeaders();
  if (first !== undefined) socket.write(first);
  const missed = missedOf(room, after, inChunks);
  if (missed !== undefined) socket.write(missed);
  socket.uncork();
  room.readers.add(socket);
  socket.once('close', () => room.readers.delete(socket));
  return { room };
}

async function checkedStream(req, res) {
  const session = await sessions.of(req);
  const { socket } = res;
  if (socket.destroyed) return;
  sessions.listen(session, socket);
  const { room } = stream(req, res, STREAM_HEAD, hello());
  prove(socket, () => `bare.${lastOf(room)}`);
}

/** Who names no id isn't made to wait; others are, if nothing follows theirs. */
function poll(req, res) {
  const { room, after } = askedOf(req.url);
  const missed = missedOf(room, after, inAnswer);
  if (missed !== undefined) sayBytes(res, missed);
  else if (after === undefined) sayBytes(res, inAnswer([], lastOf(room)));
  else room.waiting.push({ res, after });
}

/** The latest message's place, as a page of a room's history tells it. */
function page(req, res) {
  const [, , , name] = req.url.split('/');
  say(res, { cursor: `bare.${lastOf(roomAt(`room:main/${name}`))}` });
}

function sayBytes(res, bytes) {
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': bytes.length });
  res.end(bytes);
}

function read(req, res) {
  if (req.url.startsWith('/api/stream')) return sessions ? checkedStream(req, res) : stream(req, res);
  if (req.url.startsWith('/api/poll')) return poll(req, res);
  page(req, res);
}

async function follow() {
  const tail = redis.duplicate();
  for (let last = '0'; ; ) {
    const found = await tail.xread('COUNT', 1000, 'BLOCK', 1000, 'STREAMS', journal, last);
    const news = new Set();
    for (const [id, fields] of found?.[0][1] ?? []) {
      last = id;
      const event = `id: ${id}\ndata: ${fields.at(-1)}\n\n`;
      const chunk = chunkOf(event);
      const room = roomAt(fields[1]);
      for (const socket of room.readers) socket.write(chunk);
      if (room.kept.push({ id, json: fields.at(-1), chunk }) > KEPT) room.kept.shift();
      news.add(room);
    }
    for (const room of news)
      for (const { res, after } of room.waiting.splice(0)) sayBytes(res, missedOf(room, after, inAnswer));
  }
}

function bareServer() {
  return createServer((req, res) => {
    if (req.method === 'GET') return read(req, res);
    let body = '';
    req.setEncoding('utf8');
    req.on('data', (chunk) => {
      body += chunk;
    });
    req.on('end', () => {
      answer(req, res, JSON.parse(body)).catch((error) => res.writeHead(500).end(String(error)));
    });
  });
}

function expressServer() {
  const app = express().disable('x-powered-by').disable('etag');
  app.get(['/api/stream', '/api/poll', '/api/rooms/:room/messages'], read);
  app.post(
    ['/api/rooms/:room/messages', '/api/rooms', '/api/session'],
    express.json({ inflate: false }),
    (req, res) => answer(req, res, req.body),
  );
  return serverFactory(app)();
}

const server = EXPRESS ? expressServer() : bareServer();

await redis.hset(keys.room('main/lobby'), 'title', 'x');
void follow();
// Node's 5 s are over when the loop was held up for so long, also for a connection with a post in it.
server.keepAliveTimeout = 60_000;
server.listen(Number(PORT), '127.0.0.1', () => {
  process.stdout.write(`bare node:http is at http://127.0.0.1:${server.address().port}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
