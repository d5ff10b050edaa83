// Throughline as `npm start` runs it: the same program and Node flags, default settings; on the bench's Redis.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectable } from '../rig/heap.mjs';
import { ROOT, SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

/** What `npm start` runs, from package.json. */
export function startCommand() {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts.start;
}

export async function startThroughline({ port, redisPort, workers = 1, metricsPort, inspectPort }) {
  const [program, ...args] = startCommand().split(/\s+/);
  if (program !== 'node')
    throw new Error(`npm start is expected to be node with flags, not ${startCommand()}`);
  const child = start(SERVER_CORE, process.execPath, args, {
    env: {
      HOST: '127.0.0.1',
      PORT: String(port),
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      WORKERS: String(workers),
      LOG_LEVEL: 'warn',
      DRAIN_MS: '1000',
      ...(inspectPort === undefined ? {} : { NODE_OPTIONS: inspectable(inspectPort) }),
      ...(metricsPort === undefined ? {} : { METRICS_PORT: String(metricsPort) }),
    },
  });
  await untilUp(child, port, 'Throughline');
  return child;
}
