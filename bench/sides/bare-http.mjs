// The bare HTTP server, over a Redis stream.
import { SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

/** `setup`: how posts come, and what they are in Redis; see bare-http.mjs. */
export async function startBareHttp({ port, redisPort }, setup) {
  const child = start(SERVER_CORE, process.execPath, ['bench/bare-http.mjs'], {
    env: { NODE_ENV: 'production', PORT: String(port), REDIS_PORT: String(redisPort), ...setup },
  });
  await untilUp(child, port, 'the bare HTTP server');
  return child;
}
