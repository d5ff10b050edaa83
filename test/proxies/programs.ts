import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/free-port.ts';
import { waitFor } from '../support/wait-for.ts';

/** A proxy of the system's packages, and how it is started here. */
export interface ProxyProgram {
  readonly program: 'squid' | 'nginx' | 'haproxy' | 'mitmdump' | 'apache2' | 'httpd' | 'caddy';
  /** A file of this folder; `{port}`, `{service}` (a port, too) and `{folder}` in it are filled in. */
  readonly configuration?: string;
  /** The same are filled in here, and `{configuration}`. */
  readonly args: readonly string[];
  /** Asks for the service itself, by an absolute URL, in place of standing in front of it. */
  readonly isForward?: boolean;
  /** Where the service stands behind it. */
  readonly basePath?: string;
}

/** A proxy that runs. */
export interface RunningProxy {
  readonly port: number;
  stop(): Promise<void>;
}

// Where Debian keeps what only root needs as a rule; it isn't on everybody's PATH.
const FURTHER_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin'];
const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 5000;

/** Where a program is, if it is here at all. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...FURTHER_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

/**
 * Starts a proxy in front of a service, in a folder of its own, and waits until it passes requests on; `more` is filled
 * in, too. It listens on `more`'s port, if there is one.
 */
export async function startProgram(
  { program, configuration, args, isForward = false, basePath = '' }: ProxyProgram,
  servicePort: number,
  more: Readonly<Record<string, string>> = {},
): Promise<RunningProxy> {
  const path = findProgram(program);
  if (path === undefined) throw new Error(`${program} isn't installed: npm run setup -- --tests`);
  const folder = await mkdtemp(join(tmpdir(), `tl-${program}-`));
  // Started as root some of them go on as another user.
  await chmod(folder, 0o777);
  const port = Number(more['port'] ?? (await freePort()));
  const values: Record<string, string> = {
    ...more,
    port: `${port}`,
    service: `${servicePort}`,
    folder,
    name: nameOf(folder),
  };
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (whole, key: string) => values[key] ?? whole);
  if (configuration !== undefined) {
    const template = await readFile(fileURLToPath(new URL(configuration, import.meta.url)), 'utf8');
    values['configuration'] = join(folder, configuration);
    await writeFile(values['configuration'], fill(template));
  }

  const child = spawn(path, args.map(fill), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const hear = (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-4000);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const exit = once(child, 'exit');
  // Killed outright, Squid would leave its shared memory behind.
  const kill = () => void child.kill('SIGTERM');
  process.once('exit', kill);
  const stop = async () => {
    process.off('exit', kill);
    if (child.exitCode === null && child.signalCode === null) kill();
    const timer = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
    await exit;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await waitFor(
      `${program} to pass requests on`,
      async () => {
        if (child.exitCode !== null) throw new Error(`${program} has ended (${child.exitCode}): ${said}`);
        return isForward ? isListening(port) : answers(`http://127.0.0.1:${port}${basePath}/healthz`);
      },
      READY_WITHIN_MS,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, stop };
}

/** Squid tells its instances apart by a name of letters and digits. */
function nameOf(folder: string): string {
  return basename(folder).replace(/[^A-Za-z0-9]/g, '');
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    async (res) => (await res.text()).includes('up') && res.ok,
    () => false,
  );
}

async function isListening(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2000) }).then(
    () => true,
    () => false,
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
