import { execFile, spawn } from 'node:child_process';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hear } from './redis-socket.ts';
import { StartError } from './start-error.ts';

/** A redis-server that this process started. */
export interface RedisServer {
  /** Aborts when the process has ended; the reason is an Error that says how, with the last words of its log. */
  readonly ended: AbortSignal;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

const PROGRAMS = ['redis-server', 'valkey-server'];
const ANSWER_TIMEOUT_MS = 5000;
/** How long a process that neither answers nor ends is waited for. While it says that it loads, there is no limit. */
const SILENCE_TIMEOUT_MS = 60_000;
const POLL_MS = 25;

/** The server's program, from the folders of `path` (as in PATH; by default this process's own). */
export async function findProgram(path: string | undefined): Promise<string> {
  const folders = path?.split(delimiter).filter(isAbsolute);
  for (const name of PROGRAMS) {
    for (const program of folders?.map((folder) => join(folder, name)) ?? [name]) {
      try {
        await promisify(execFile)(program, ['--version']);
        return program;
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') continue;
        throw new StartError(`${program} doesn’t run: ${message.trim().replace(/\s+/g, ' ')}`);
      }
    }
  }
  throw new StartError(
    `There is no ${PROGRAMS.join(' or ')} on the PATH: \`npm run setup\` installs one, or set REDIS_URL to a Redis elsewhere.`,
  );
}

/** Starts the program on the files in `folder`, listening on `socketPath` alone. */
export async function launchRedis(program: string, folder: string, socketPath: string): Promise<RedisServer> {
  const logPath = join(folder, 'redis.log');
  const settings: Record<string, string> = {
    port: '0',
    unixsocket: socketPath,
    unixsocketperm: '700',
    dir: folder,
    appendonly: 'yes',
    // An acknowledged message survives the machine's power cut, not only the process.
    appendfsync: 'always',
    save: '',
    'maxmemory-policy': 'noeviction',
    daemonize: 'no',
    // Systemd and upstart aren't spoken to, whatever the service itself inherited.
    supervised: 'no',
    logfile: logPath,
    'always-show-logo': 'no',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  await removeLeftovers(folder);
  const log = await open(logPath, 'a', 0o600).catch(({ code }: NodeJS.ErrnoException) => {
    throw new StartError(
      `${logPath} can’t be written (${code}); was the service run as another user before?`,
    );
  });
  try {
    const { size } = await log.stat();
    // In a process group of its own: Ctrl-C in a terminal is for the service alone, which stops its Redis last.
    const child = spawn(program, args, { cwd: folder, detached: true, stdio: ['ignore', log.fd, log.fd] });
    const ended = new AbortController();
    const end = async (how: string): Promise<void> => {
      ended.abort(new Error(`${how}${await lastWords(logPath, size)}`));
    };
    child.once('error', (error) => void end(error.message));
    child.once('exit', (code, signal) => void end(signal ?? `exit code ${code}`));
    return { ended: ended.signal, kill: (signal) => void child.kill(signal) };
  } finally {
    await log.close();
  }
}

/** A Redis that is killed while it rewrites its file leaves the half of the new one, and never takes it away. */
async function removeLeftovers(folder: string): Promise<void> {
  const leftovers = (await readdir(folder)).filter((name) => /^temp-rewriteaof-.*\.aof$/.test(name));
  await Promise.all(leftovers.map((name) => rm(join(folder, name), { force: true })));
}

/** The last lines of the log since `from`, without their times, as the end of a sentence. */
async function lastWords(path: string, from: number): Promise<string> {
  const text = await readFile(path).catch(() => Buffer.alloc(0));
  const lines = text.subarray(from).toString().trim().split('\n').slice(-3);
  const words = lines
    .map((line) => line.replace(/^\d+:[A-Z] .*? [.\-*#] /, '').trim())
    .filter((line) => line !== '');
  return words.length === 0 ? '' : `: ${words.join(' / ')}`;
}

/** Waits until the server answers, however long it loads. Throws when it ends before, stays silent, or on abort. */
export async function untilReady(
  server: RedisServer,
  socketPath: string,
  signal: AbortSignal,
): Promise<void> {
  const over = AbortSignal.any([server.ended, signal]);
  for (let heardAt = Date.now(); ; ) {
    signal.throwIfAborted();
    if (server.ended.aborted) {
      throw new StartError(`Redis ended while it started (${server.ended.reason.message}).`);
    }
    const heard = await hear(socketPath, ANSWER_TIMEOUT_MS);
    if (heard === 'ready') return;
    if (heard === 'loading') heardAt = Date.now();
    if (Date.now() - heardAt > SILENCE_TIMEOUT_MS) {
      throw new StartError(`Redis started, but doesn’t answer on ${socketPath}.`);
    }
    await pause(POLL_MS, undefined, { signal: over }).catch(() => {});
  }
}
