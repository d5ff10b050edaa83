// What one writes in an afternoon: an array, a Set of responses, and a loop. The yardstick of bench/run.mjs.
import express from 'express';

const messages = [];
const clients = new Set();
const app = express();
app.disable('x-powered-by').disable('etag');
app.use(express.json());

const frameOf = (message) => `id: ${message.id}\ndata: ${JSON.stringify(message)}\n\n`;

app.post('/messages', (req, res) => {
  const { name, text } = req.body;
  const id = messages.length + 1;
  const user = { id: `guest-${name}`, name, guest: true };
  const message = { kind: 'message', room: 'lobby', id, at: Date.now(), user, text };
  messages.push(message);
  const frame = frameOf(message);
  for (const client of clients) client.write(frame);
  res.status(201).json({ id, at: message.at });
});

app.get('/stream', (req, res) => {
  res.set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
  res.flushHeaders();
  const { after } = req.query;
  if (after !== undefined) for (const message of messages.slice(Number(after))) res.write(frameOf(message));
  clients.add(res);
  res.once('close', () => clients.delete(res));
});

const server = app.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  process.stdout.write(`plain express is at http://127.0.0.1:${server.address().port}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
