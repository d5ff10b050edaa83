import { freePort } from '../rig/processes.mjs';
import { openRedis } from '../rig/redis.mjs';
import { startThroughline } from '../sides/throughline.mjs';
import { rate } from './rate.mjs';

const redis = await openRedis('memory');
const port = await freePort();
const c = await startThroughline({ port, redisPort: redis.port });
for (const k of [1, 2]) {
  console.log('plain', JSON.stringify(await rate(port, () => `GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n`)));
  console.log(
    'cookie',
    JSON.stringify(
      await rate(
        port,
        (i) =>
          `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: throughline.sid=s%3Aabcdef${i}\r\n\r\n`,
      ),
    ),
  );
}
process.exit(0);
