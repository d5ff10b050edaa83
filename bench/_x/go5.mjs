import { spawn } from 'node:child_process';
import { openRedis } from '../rig/redis.mjs';
import { rate } from './rate.mjs';

const redis = await openRedis('memory');
const c = spawn(
  'taskset',
  [
    '-c',
    '0',
    'node',
    ...(process.env.NARG ? process.env.NARG.split(' ') : []),
    new URL('./proc2.mjs', import.meta.url).pathname,
  ],
  { stdio: 'inherit', env: { ...process.env, R: `redis://127.0.0.1:${redis.port}` } },
);
await new Promise((r) => setTimeout(r, 1800));
for (const p of ['/x', '/healthz', '/x', '/api/nothing'])
  console.log(p, await rate(7788, () => `GET ${p} HTTP/1.1\r\nHost: a\r\n\r\n`));
c.kill('SIGKILL');
process.exit(0);
