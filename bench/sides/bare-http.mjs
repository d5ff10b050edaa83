// The bare HTTP server, over a Redis stream.
import { SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

/** `step`: what a post is in Redis, see bare-http.mjs. */
export async function startBareHttp({ port, redisPort }, step) {
  const child = start(SERVER_CORE, process.execPath, ['bench/bare-http.mjs'], {
    env: { NODE_ENV: 'production', PORT: String(port), REDIS_PORT: String(redisPort), STEP: step },
  });
  await untilUp(child, port, 'the bare HTTP server');
  return child;
}
