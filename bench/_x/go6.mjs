import { spawn } from 'node:child_process';
import { openRedis } from '../rig/redis.mjs';
import { rate } from './rate.mjs';

const redis = await openRedis('memory');
for (const f of ['bench/_x/proc2.mjs', 'dist/main.js', 'bench/_x/proc2.mjs', 'dist/main.js']) {
  const c = spawn('taskset', ['-c', '0', 'node', f], {
    stdio: 'ignore',
    env: {
      ...process.env,
      R: `redis://127.0.0.1:${redis.port}`,
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      PORT: '7788',
      HOST: '127.0.0.1',
      LOG_LEVEL: 'warn',
    },
  });
  await new Promise((r) => setTimeout(r, 2000));
  for (const p of ['/healthz']) {
    console.log(f, p, await rate(7788, () => `GET ${p} HTTP/1.1\r\nHost: a\r\n\r\n`));
    console.log(
      f,
      p,
      'cookie',
      await rate(
        7788,
        (i) =>
          `GET ${p} HTTP/1.1\r\nHost: 127.0.0.1:7788\r\nCookie: throughline.sid=s%3A${i}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\r\n`,
      ),
    );
  }
  c.kill('SIGKILL');
  await new Promise((r) => setTimeout(r, 300));
}
process.exit(0);
