// As little as accepts a post by HTTP, has it in Redis before it is answered, and tells it to those who read the room: node:http
// and one write a reader, but no session, no check, no window, no resuming. A yardstick of `npm run bench`: what Node can reach at
// best on this road. It answers the part of Throughline's wire that the bench asks. STEP says what a post is in Redis:
//   xadd     one XADD
//   append   what Throughline writes: journal, room log, count, pace, by its own script and in its own batches
// With EXPRESS=1 posts come through Express and its JSON parser, on the server that Throughline makes for it.
import { createServer } from 'node:http';
import express from 'express';
import { Redis } from 'ioredis';
import { createAppServer } from '../dist/http/app-server.js';
import { Appender } from '../dist/log/append.js';
import { Keys } from '../dist/log/keys.js';
import { messageOf } from './dialects/message.mjs';

const { PORT = '0', REDIS_PORT, STEP, EXPRESS } = process.env;
const LIMITS = { journalEntries: 100_000, roomLogEntries: 10_000, postsPerSecond: 1000, postBurst: 1000 };
const redis = new Redis(Number(REDIS_PORT), '127.0.0.1', { enableAutoPipelining: true });
const keys = new Keys('bare');
const appender = new Appender(redis, keys, LIMITS);
const journal = STEP === 'append' ? keys.journal : 'messages';
const readers = new Map();
let people = 0;

const roomOf = (url) => new URL(url, 'http://bare').searchParams.get('rooms');

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
    const id = await steps[STEP](room, /\d+/.exec(req.headers.cookie)[0], body.text);
    return say(res, { id });
  }
  if (what === 'rooms') await redis.hset(keys.room(`main/${body.room}`), 'title', 'x');
  else res.setHeader('Set-Cookie', `bare=${people++}; Path=/`);
  say(res, {});
}

function say(res, value) {
  const json = JSON.stringify(value);
  res.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': json.length });
  res.end(json);
}

function stream(req, res) {
  const room = `room:main/${roomOf(req.url)}`;
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' }).flushHeaders();
  const here = readers.get(room) ?? new Set();
  readers.set(room, here.add(res.socket));
  res.socket.once('close', () => here.delete(res.socket));
}

async function follow() {
  const tail = redis.duplicate();
  for (let last = '0'; ; ) {
    const found = await tail.xread('COUNT', 1000, 'BLOCK', 1000, 'STREAMS', journal, last);
    for (const [id, fields] of found?.[0][1] ?? []) {
      last = id;
      const event = Buffer.from(`id: ${id}\ndata: ${fields.at(-1)}\n\n`);
      const chunk = Buffer.concat([
        Buffer.from(`${event.length.toString(16)}\r\n`),
        event,
        Buffer.from('\r\n'),
      ]);
      for (const socket of readers.get(fields[1]) ?? []) socket.write(chunk);
    }
  }
}

function bareServer() {
  return createServer((req, res) => {
    if (req.method === 'GET') return stream(req, res);
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
  app.get('/api/stream', stream);
  app.post(
    ['/api/rooms/:room/messages', '/api/rooms', '/api/session'],
    express.json({ inflate: false }),
    (req, res) => answer(req, res, req.body),
  );
  return createAppServer(app);
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
