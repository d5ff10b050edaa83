import { spawn } from 'node:child_process';
import { rate } from './rate.mjs';

for (const [kind, req] of [
  ['bare', () => 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['plainexpress', () => 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['born', () => 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'],
  [
    'json',
    () =>
      'POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"text":"a"}',
  ],
]) {
  const c = spawn('taskset', ['-c', '0', 'node', new URL('./express.mjs', import.meta.url).pathname, kind], {
    stdio: 'inherit',
  });
  await new Promise((r) => setTimeout(r, 800));
  console.log(kind, await rate(7788, req));
  c.kill('SIGKILL');
  await new Promise((r) => setTimeout(r, 100));
}
process.exit(0);
