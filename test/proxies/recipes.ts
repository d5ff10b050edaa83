import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generate } from 'selfsigned';
import { freePort } from '../support/free-port.ts';
import { findProgram, type ProxyProgram, startProgram } from './programs.ts';

/** A file of `recipes/`, and how the proxy that it is for is started with it. */
interface Recipe extends ProxyProgram {
  readonly name: string;
  readonly file: string;
  /** What stands in the file for the addresses and files of somebody's site, and what stands there instead here. */
  readonly places: Readonly<Record<string, string>>;
}

const CHAT = { '127.0.0.1:3000': '127.0.0.1:{service}' };
const SITE = { '127.0.0.1:8080': '127.0.0.1:{site}' };
const APACHE_MODULES = [
  '/usr/lib/apache2/modules',
  '/usr/lib64/httpd/modules',
  '/usr/lib/apache2',
  '/opt/homebrew/lib/httpd/modules',
];

/** The recipes that are run here. */
export const recipes: readonly Recipe[] = [
  {
    name: 'nginx',
    file: 'nginx.conf',
    places: CHAT,
    program: 'nginx',
    configuration: 'recipe-nginx.conf',
    args: ['-p', '{folder}', '-e', '{folder}/error.log', '-c', '{configuration}'],
  },
  {
    name: 'Apache httpd',
    file: 'apache.conf',
    places: CHAT,
    program: findProgram('apache2') === undefined && findProgram('httpd') ? 'httpd' : 'apache2',
    configuration: 'recipe-apache.conf',
    args: ['-DFOREGROUND', '-f', '{configuration}'],
  },
  {
    name: 'HAProxy',
    file: 'haproxy.cfg',
    places: {
      ...CHAT,
      ...SITE,
      'bind :80\n': 'bind 127.0.0.1:{port}\n',
      'bind :443 ': 'bind 127.0.0.1:{tlsPort} ',
      '/etc/haproxy/www.example.org.pem': '{certificate}',
    },
    program: 'haproxy',
    configuration: 'recipe-haproxy.cfg',
    args: ['-db', '-f', '{configuration}', '-f', '{recipe}'],
  },
  {
    name: 'Caddy',
    file: 'Caddyfile',
    places: {
      ...CHAT,
      ...SITE,
      'www.example.org {': 'http://127.0.0.1:{port}, http://localhost:{port}, https://localhost:{tlsPort} {',
    },
    program: 'caddy',
    configuration: 'recipe.Caddyfile',
    args: ['run', '--adapter', 'caddyfile', '--config', '{configuration}'],
  },
];

/** A site with the chat below `/chat`, over HTTP and HTTPS. */
export interface RunningRecipe {
  readonly port: number;
  readonly tlsPort: number;
  stop(): Promise<void>;
}

/** Fills a recipe in and starts its proxy. Throws if what should be filled in isn't in the file. */
export async function startRecipe(
  recipe: Recipe,
  servicePort: number,
  sitePort: number,
): Promise<RunningRecipe> {
  const folder = await mkdtemp(join(tmpdir(), 'tl-recipe-'));
  const [port, tlsPort] = [await freePort(), await freePort()];
  const values: Record<string, string> = {
    port: `${port}`,
    tlsPort: `${tlsPort}`,
    service: `${servicePort}`,
    site: `${sitePort}`,
    certificate: join(folder, 'certificate.pem'),
    recipe: join(folder, recipe.file),
    modules: APACHE_MODULES.find((path) => existsSync(join(path, 'mod_proxy.so'))) ?? '',
  };
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }]);
  await writeFile(values['certificate'] as string, `${cert.trim()}\n${key.trim()}\n`);
  let text = await readFile(fileURLToPath(new URL(`../../recipes/${recipe.file}`, import.meta.url)), 'utf8');
  for (const [place, value] of Object.entries(recipe.places)) {
    if (!text.includes(place)) throw new Error(`recipes/${recipe.file} has no ${JSON.stringify(place)}`);
    text = text.replaceAll(
      place,
      value.replace(/\{(\w+)\}/g, (_whole, name: string) => values[name] as string),
    );
  }
  await writeFile(values['recipe'] as string, text);
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const proxy = await startProgram({ ...recipe, basePath: '/chat' }, servicePort, values);
    return { port, tlsPort, stop: () => proxy.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}
