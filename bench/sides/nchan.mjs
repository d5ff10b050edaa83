// nginx with nchan over Redis (storage mode `distributed`: what is published is in Redis before it is told), one worker.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileLimit } from '../rig/machine.mjs';
import { newFolder, SERVER_CORE, start } from '../rig/processes.mjs';
import { untilUp } from '../rig/until-up.mjs';

const PACKAGE = 'libnginx-mod-nchan';
const MODULES = ['/usr/lib/nginx/modules', '/usr/lib64/nginx/modules'];
const MODULE = 'ngx_nchan_module.so';

const modulePath = () => MODULES.map((folder) => join(folder, MODULE)).find((path) => existsSync(path));

/** Sees to it that there are nginx and its module, from Debian's packages. Throws one sentence where that can't be done. */
export function installNchan() {
  if (modulePath() !== undefined && spawnSync('nginx', ['-v']).status === 0) return;
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const apt = (...args) => {
    const [program, ...rest] = [...asRoot, 'apt-get', ...args];
    return spawnSync(program, rest, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  };
  console.log(`Installing ${PACKAGE} …`);
  const install = () => apt('install', '-y', '--no-install-recommends', 'nginx-light', PACKAGE).status === 0;
  if (!install() && !(apt('update').status === 0 && install()))
    throw new Error(
      `nginx with nchan isn't here and can't be installed (it needs root, or sudo without a password, and Debian's packages): \`apt-get install ${PACKAGE}\`, or leave it out with --sides=throughline,socket.io,plain.`,
    );
}

export async function startNchan({ port, redisPort }) {
  const folder = newFolder();
  const at = (name) => join(folder.path, name);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${at(name)};`)
    .join('\n');
  writeFileSync(
    at('nginx.conf'),
    `load_module ${modulePath()};
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
daemon off;
pid ${at('pid')};
error_log ${at('error.log')} warn;
worker_rlimit_nofile ${fileLimit()};
events { worker_connections ${fileLimit()}; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
${temporary}
  nchan_shared_memory_size 512M;
  upstream redis {
    nchan_redis_server redis://127.0.0.1:${redisPort};
    nchan_redis_storage_mode distributed;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 1h;
    nchan_subscriber_first_message newest;
    location ~ ^/sub/([a-z0-9-]+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_redis_pass redis;
    }
    location ~ ^/poll/([a-z0-9-]+)$ {
      nchan_subscriber longpoll;
      nchan_channel_id $1;
      nchan_redis_pass redis;
    }
    location ~ ^/pub/([a-z0-9-]+)$ {
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_redis_pass redis;
    }
  }
}
`,
  );
  const child = start(SERVER_CORE, 'nginx', ['-e', at('error.log'), '-c', at('nginx.conf')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  child.once('exit', folder.remove);
  await untilUp(child, port, 'nginx');
  await untilStored(port);
  return child;
}

/** Until nginx has found its Redis, it answers 503. */
async function untilStored(port) {
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(50)) {
    const { ok } = await fetch(`http://127.0.0.1:${port}/pub/first`, { method: 'POST', body: '-' });
    if (ok) return;
  }
  throw new Error('nginx did not find its Redis');
}
