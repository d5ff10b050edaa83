// The bare HTTP server, over a Redis stream.
import { SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

export async function startBareHttp({ port, redisPort }) {
  const child = start(SERVER_CORE, process.execPath, ['bench/bare-http.mjs'], {
    env: { NODE_ENV: 'production', PORT: String(port), REDIS_PORT: String(redisPort) },
  });
  await untilUp(child, port, 'the bare HTTP server');
  return child;
}
