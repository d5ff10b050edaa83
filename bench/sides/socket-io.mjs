// Socket.IO with the Redis Streams adapter; its packages have a folder and a lock of their own.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

const FOLDER = join(ROOT, 'bench/peers');

/** Installs the locked packages where they are missing. */
export function installSocketIo() {
  if (existsSync(join(FOLDER, 'node_modules/socket.io'))) return;
  console.log('Installing Socket.IO …');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--prefix', FOLDER], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0)
    throw new Error(
      'Socket.IO isn’t here and `npm ci --prefix bench/peers` failed; leave it out with --sides=throughline,nchan,plain.',
    );
}

export async function startSocketIo({ port, redisPort, hasRecovery }) {
  const child = start(SERVER_CORE, process.execPath, ['bench/peers/socket-io.mjs'], {
    env: {
      NODE_ENV: 'production',
      PORT: String(port),
      REDIS_PORT: String(redisPort),
      ...(hasRecovery && { RECOVERY: '1' }),
    },
  });
  await untilUp(child, port, 'Socket.IO');
  return child;
}
