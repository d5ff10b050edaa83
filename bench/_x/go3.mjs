import { spawn } from 'node:child_process';
import { rate } from './rate.mjs';

for (const kind of process.argv.slice(2)) {
  const c = spawn(
    'taskset',
    [
      '-c',
      '0',
      'node',
      ...(process.env.NARG ? process.env.NARG.split(' ') : []),
      new URL('./express3.mjs', import.meta.url).pathname,
      kind,
    ],
    { stdio: 'inherit' },
  );
  await new Promise((r) => setTimeout(r, 800));
  console.log(kind, await rate(7788, () => 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'));
  c.kill('SIGKILL');
  await new Promise((r) => setTimeout(r, 100));
}
process.exit(0);
