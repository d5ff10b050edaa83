import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LOCK_NAME_BYTES, lockFolder } from './folder-lock.ts';
import type { Log } from './logger.ts';
import { findProgram, launchRedis } from './redis-server.ts';
import { hear, processIdOf, shutDown } from './redis-socket.ts';
import { StartError } from './start-error.ts';
import { SupervisedRedis } from './supervised-redis.ts';

/** A Redis of the service's own: it is started again when it dies. */
export interface EmbeddedRedis {
  readonly socketPath: string;
  /** Resolves when its process has ended and its folder is free for another. */
  close(): Promise<void>;
}

export interface EmbeddedRedisOptions {
  /** Where its files and its socket are; made if there is none. One service at a time uses it. */
  readonly dataDir: string;
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>;
  /** The folders its program is looked for in, written as in PATH. Default: this process's PATH. */
  readonly path?: string | undefined;
  /** Gives up a start: gigabytes take minutes to load. */
  readonly signal?: AbortSignal | undefined;
}

/** The shortest limit among the systems is macOS': 104 bytes with the closing zero. */
const MAX_SOCKET_PATH_BYTES = 103;
const ANSWER_TIMEOUT_MS = 2000;
const SHUTDOWN_TIMEOUT_MS = 10_000;
/** Whoever was killed may just have started a Redis that doesn't listen yet. */
const ABANDONED_START_MS = 500;
const POLL_MS = 25;

/** Starts the embedded Redis. Throws a StartError where it can't, and the signal's reason where that aborts. */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const { dataDir, log, path, signal = new AbortController().signal } = options;
  const program = await findProgram(path);
  const folder = await prepareFolder(dataDir);
  const socketPath = join(folder, 'redis.sock');
  const lock = await lockFolder(folder);
  const supervised = new SupervisedRedis(() => launchRedis(program, folder, socketPath), socketPath, log);
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= supervised.stop().finally(() => lock.release());
    return closed;
  };
  try {
    await takeOver(socketPath, lock.wasAbandoned ? ABANDONED_START_MS : 0, log);
    await supervised.start(signal);
  } catch (error) {
    await close();
    throw error;
  }
  return { socketPath, close };
}

async function prepareFolder(dataDir: string): Promise<string> {
  const folder = resolve(dataDir);
  const longest = Buffer.byteLength(folder) + 1 + LOCK_NAME_BYTES;
  if (longest > MAX_SOCKET_PATH_BYTES) {
    throw new StartError(
      `DATA_DIR (${folder}) is ${longest - MAX_SOCKET_PATH_BYTES} bytes too long to hold Unix sockets; set it to a shorter path.`,
    );
  }
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(
      `The data folder ${folder} can’t be made (${code}); set DATA_DIR to another folder.`,
    );
  }
  return folder;
}

/** Ends the Redis that a killed owner left behind on these files, if there is one. */
async function takeOver(socketPath: string, waitMs: number, log: Pick<Log, 'warn'>): Promise<void> {
  for (const deadline = Date.now() + waitMs; (await hear(socketPath, ANSWER_TIMEOUT_MS)) === 'nobody'; ) {
    if (Date.now() >= deadline) return;
    await pause(POLL_MS);
  }
  log.warn(
    { socketPath },
    'a Redis that a killed Throughline left behind is shut down, and its files are taken over',
  );
  const outcome = await shutDown(socketPath, SHUTDOWN_TIMEOUT_MS);
  if (outcome === 'gone' || outcome === 'nobody') return;
  const id = await processIdOf(socketPath, ANSWER_TIMEOUT_MS);
  const name = id === undefined ? `that listens on ${socketPath}` : `(process ${id})`;
  throw new StartError(
    `A Redis ${name}, left behind by a killed Throughline, doesn’t end; end it, then start again.`,
  );
}
