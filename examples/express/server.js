import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createApp } from './app.js';

const { PORT = '8000', SESSION_SECRET = randomBytes(32).toString('hex'), REDIS_URL } = process.env;

const { app, takeUpgrade, close } = await createApp({
  secret: SESSION_SECRET,
  // Without a Redis of yours the chat starts one of its own, in ./data.
  ...(REDIS_URL && { redisUrl: REDIS_URL }),
});
const server = createServer(app).on('upgrade', takeUpgrade);
server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`The workshop is at http://127.0.0.1:${server.address().port}/`);
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    // Readers first: a server doesn't close while a stream is open.
    await close();
    server.close();
    server.closeIdleConnections();
  });
}
