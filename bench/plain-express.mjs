// What one writes in an afternoon: an array, a Set of responses, and a loop. A yardstick of `npm run bench`. With REDIS_PORT a
// post is first an entry of a Redis stream, and the loop is fed by a tail of it.
import express from 'express';
import { Redis } from 'ioredis';

const { PORT = '0', REDIS_PORT } = process.env;
const messages = [];
const clients = new Set();
const app = express();
app.disable('x-powered-by').disable('etag');
app.use(express.json());

const frameOf = (message) => `id: ${message.id}\ndata: ${JSON.stringify(message)}\n\n`;

const tell = (message) => {
  message.id = messages.push(message);
  const frame = frameOf(message);
  for (const client of clients) client.write(frame);
};

const redis = REDIS_PORT && new Redis(Number(REDIS_PORT), '127.0.0.1');
/** Resolvers of posts whose entry the tail hasn't read yet. */
const waiting = new Map();

app.post('/messages', async (req, res) => {
  const { name, text } = req.body;
  const user = { id: `guest-${name}`, name, guest: true };
  const message = { kind: 'message', room: 'lobby', at: Date.now(), user, text };
  if (redis) {
    const entry = await redis.xadd('messages', 'MAXLEN', '~', '10000', '*', 'data', JSON.stringify(message));
    // The answer names the number that readers resume from, which the tail gives.
    message.id = await new Promise((resolve) => {
      const told = waiting.get(entry);
      if (typeof told === 'number') resolve(told);
      else waiting.set(entry, resolve);
    });
    waiting.delete(entry);
  } else tell(message);
  res.status(201).json({ id: message.id, at: message.at });
});

async function follow() {
  const tail = redis.duplicate();
  for (let last = '0'; ; ) {
    const found = await tail.xread('COUNT', 1000, 'BLOCK', 1000, 'STREAMS', 'messages', last);
    for (const [entry, [, data]] of found?.[0][1] ?? []) {
      last = entry;
      const message = JSON.parse(data);
      tell(message);
      const resolve = waiting.get(entry);
      if (resolve) resolve(message.id);
      else waiting.set(entry, message.id);
    }
  }
}

app.get('/stream', (req, res) => {
  res.set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
  res.flushHeaders();
  const { after } = req.query;
  if (after !== undefined) for (const message of messages.slice(Number(after))) res.write(frameOf(message));
  clients.add(res);
  res.once('close', () => clients.delete(res));
});

if (redis) void follow();
const server = app.listen(Number(PORT), '127.0.0.1', () => {
  process.stdout.write(`plain express is at http://127.0.0.1:${server.address().port}/\n`);
});
// Node's 5 s are over when the loop was held up for so long, also for a connection with a post in it.
server.keepAliveTimeout = 60_000;
process.on('SIGTERM', () => process.exit(0));
