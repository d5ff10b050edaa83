// Throughline as `npm start` runs it: the same program and Node flags, default settings; on the bench's Redis, its log in a file.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectable } from '../rig/heap.mjs';
import { newFolder, ROOT, SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

/** What `npm start` runs, from package.json. */
export function startCommand() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts.start;
}

export async function startThroughline({ port, redisPort, workers = 1, metricsPort, inspectPort }) {
  const [program, ...args] = startCommand().split(/\s+/);
  if (program !== 'node')
    throw new Error(`npm start is expected to be node with flags, not ${startCommand()}`);
  const folder = newFolder();
  const log = openSync(join(folder.path, 'log'), 'w');
  const child = start(SERVER_CORE, process.execPath, args, {
    stdio: ['ignore', log, 'inherit'],
    env: {
      HOST: '127.0.0.1',
      PORT: String(port),
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      WORKERS: String(workers),
      DRAIN_MS: '1000',
      ...(inspectPort === undefined ? {} : { NODE_OPTIONS: inspectable(inspectPort) }),
      ...(metricsPort === undefined ? {} : { METRICS_PORT: String(metricsPort) }),
    },
  });
  child.once('exit', () => folder.remove());
  closeSync(log);
  await untilUp(child, port, 'Throughline');
  return child;
}
