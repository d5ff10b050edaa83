// Socket.IO with its Redis Streams adapter, as its documentation sets it up. A post is answered once the adapter has its id
// from Redis: `broadcast` is what `io.to(room).emit()` calls, which drops the promise.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const EVENT_PACKET = 2;
const { PORT, REDIS_PORT, RECOVERY } = process.env;
const redis = createClient({ socket: { host: '127.0.0.1', port: Number(REDIS_PORT) } });
redis.on('error', () => {});
await redis.connect();

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(redis),
  ...(RECOVERY && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } }),
});
let posts = 0;

io.on('connection', (socket) => {
  const { room } = socket.handshake.query;
  if (room && !socket.recovered) socket.join(room);
  const user = posts++ % 5000;
  const name = `bench ${user}`;
  socket.on('post', async (to, text, ack) => {
    const message = {
      kind: 'message',
      room: to,
      at: Date.now(),
      user: { id: `guest-${String(user).padStart(12, '0')}`, name, guest: true },
      text,
    };
    await io
      .of('/')
      .adapter.broadcast(
        { type: EVENT_PACKET, nsp: '/', data: ['message', message] },
        { rooms: new Set([to]), except: new Set(), flags: {} },
      );
    ack();
  });
});
http.listen({ port: Number(PORT), host: '127.0.0.1', backlog: 4096 }, () =>
  process.stdout.write(`socket.io is at http://127.0.0.1:${PORT}/\n`),
);
process.on('SIGTERM', () => process.exit(0));
