import { spawn } from 'node:child_process';
import { openRedis } from '../rig/redis.mjs';
import { rate } from './rate.mjs';

const redis = await openRedis('memory');
const c = spawn(
  'taskset',
  ['-c', '0', 'node', ...(process.env.NARG ? process.env.NARG.split(' ') : []), 'dist/main.js'],
  {
    stdio: [
      'ignore',
      process.env.NARG ? (await import('node:fs')).openSync('/tmp/gc.out', 'w') : 'ignore',
      'inherit',
    ],
    env: {
      ...process.env,
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      PORT: '7788',
      HOST: '127.0.0.1',
      LOG_LEVEL: 'warn',
      POST_BURST: '1000000',
    },
  },
);
await new Promise((r) => setTimeout(r, 2000));
const h = async (l) => console.log(l, await rate(7788, () => `GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n`));
const B = 'http://127.0.0.1:7788';
await h('fresh');

const cookies = [];
for (let i = 0; i < 200; i++)
  cookies.push(
    (
      await fetch(B + '/api/session', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'p' + i }),
      })
    ).headers
      .get('set-cookie')
      .split(';')[0],
  );
await h('after logins');
let k = 0;
const post = (i) => {
  const b = '{"text":"hello"}';
  return `POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: 127.0.0.1:7788\r\nCookie: ${cookies[k++ % 200]}\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`;
};

const p2 = (path, b) => () =>
  `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:7788\r\nCookie: ${cookies[k++ % 200]}\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`;
const g2 = (path) => () =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:7788\r\nCookie: ${cookies[k++ % 200]}\r\n\r\n`;
const t = async (l, f) => {
  const [r] = await rate(7788, f);
  console.log(l, r, (1e6 / r).toFixed(0) + 'us');
};

const st = (x) => () => {
  const b = '{"text":"hello"}';
  return `POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: 127.0.0.1:7788\r\n${x ? 'X-Stage: ' + x + '\r\n' : ''}Cookie: ${cookies[k++ % 200]}\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`;
};
for (const q of [1, 2]) for (const x of ['A', 'B', 'C', 'R', '']) await t(x || 'full', st(x));

import { spawnSync } from 'node:child_process';

setTimeout(
  () =>
    spawn('perf', ['record', '-C', '0', '-F', '2000', '-g', '-o', '/tmp/perf2.data', 'sleep', '2'], {
      stdio: 'ignore',
    }),
  2200,
);
await t('healthz', g2('/healthz'));
c.kill('SIGKILL');
process.exit(0);
