import { freePort } from '../rig/processes.mjs';
import { openRedis } from '../rig/redis.mjs';
import { startThroughline } from '../sides/throughline.mjs';
import { rate } from './rate.mjs';

const redis = await openRedis('memory');
const port = await freePort();
process.env.POST_BURST = '100000000';
process.env.POSTS_PER_SECOND = '100000000';

import { spawn } from 'node:child_process';
import fs from 'node:fs';

const out = fs.openSync('/tmp/svc.out', 'w');
spawn(
  'taskset',
  [
    '-c',
    process.env.CORE ?? '0',
    'node',
    ...(process.env.NARG ? process.env.NARG.split(' ') : []),
    'dist/main.js',
  ],
  {
    stdio: ['ignore', out, 'inherit'],
    env: {
      ...process.env,
      HOST: '127.0.0.1',
      PORT: String(port),
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      LOG_LEVEL: 'warn',
    },
  },
);
await new Promise((r) => setTimeout(r, 2000));
const cookies = [];
const N = Number(process.env.N ?? 200);
for (let i = 0; i < N; i++) {
  const r = await fetch(`http://127.0.0.1:${port}/api/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'p' + i }),
  });
  cookies.push(r.headers.get('set-cookie').split(';')[0]);
}
let k = 0;
const post = (path, body) => (i) =>
  `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookies[(k++) % N]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const get = (path) => (i) =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookies[(k++) % N]}\r\n\r\n`;
const rr = () => '/api/rooms/r' + (k % 100) + '/messages';
for (let i = 0; i < 100; i++)
  await fetch(`http://127.0.0.1:${port}/api/rooms`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie: cookies[i % N] },
    body: JSON.stringify({ room: 'r' + i }),
  });
const which = (process.argv[2] ?? 'healthz,notfound,session,badbody,noroom,post,poll,history').split(',');
const all = {
  healthz: get('/healthz'),
  notfound: get('/api/nothing'),
  session: get('/api/session'),
  badbody: post('/api/rooms/lobby/messages', '{"text":""}'),
  noroom: post('/api/rooms/nope/messages', '{"text":"hello there"}'),
  post: (i) => post(rr(), '{"text":"hello there"}')(i),
  poll: get('/api/poll?rooms=lobby&wait=0'),
  history: get('/api/rooms/lobby/messages?limit=1'),
};
for (const k of which) console.log(k, JSON.stringify(await rate(port, all[k])));
process.exit(0);
