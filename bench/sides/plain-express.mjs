// The plain Express app, over a Redis stream.
import { SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

export async function startPlainExpress({ port, redisPort }) {
  const child = start(SERVER_CORE, process.execPath, ['bench/plain-express.mjs'], {
    env: { NODE_ENV: 'production', PORT: String(port), REDIS_PORT: String(redisPort) },
  });
  await untilUp(child, port, 'the plain Express app');
  return child;
}
