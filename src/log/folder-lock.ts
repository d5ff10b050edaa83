import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { StartError } from './start-error.ts';

/** A folder that this process alone uses, until it lets go of it or dies. */
export interface FolderLock {
  /** The owner before this one was killed: what it had started may still run. */
  readonly wasAbandoned: boolean;
  release(): Promise<void>;
}

/** As many bytes as the longest name that `lockFolder` makes in the folder. */
export const LOCK_NAME_BYTES = 'owner.123456.sock'.length;

const LOCK_NAME = /^owner\.[0-9a-f]{6}\.sock$/;
const ANSWER_TIMEOUT_MS = 1000;
const CLAIM_TIMEOUT_MS = 5000;
const RETRY_MS = 10;

type Standing = 'owner' | 'claimant' | 'unclear' | 'dead';

/**
 * Takes the folder, or throws a StartError where another process has it. Whoever wants it first listens on a Unix
 * socket under a name never used before, and then asks all others: so of two, at least one sees the other. An owner
 * stays; among claimants the lowest name waits for the rest to go. A socket that refuses belongs to the dead, since
 * the kernel closed it. One fixed name would do with less, but clearing a dead one away could hit its successor.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const name = `owner.${randomBytes(3).toString('hex')}.sock`;
  let standing: Standing = 'claimant';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(standing, () => socket.destroy());
  });
  await listen(server, join(folder, name), folder);
  server.unref();
  try {
    const dead = await untilAlone(folder, name);
    standing = 'owner';
    await Promise.all(dead.map((other) => rm(join(folder, other), { force: true })));
    return { wasAbandoned: dead.length > 0, release: () => close(server) };
  } catch (error) {
    await close(server);
    throw error;
  }
}

/** Resolves with the names of dead owners once nobody else wants or has the folder. */
async function untilAlone(folder: string, name: string): Promise<string[]> {
  const inUse = new StartError(
    `The data folder ${folder} is in use by another Throughline; stop it, or set DATA_DIR.`,
  );
  for (const deadline = Date.now() + CLAIM_TIMEOUT_MS; Date.now() < deadline; await pause(RETRY_MS)) {
    const others = (await readdir(folder)).filter((other) => LOCK_NAME.test(other) && other !== name);
    const standings = await Promise.all(others.map((other) => standingOf(join(folder, other))));
    if (standings.every((standing) => standing === 'dead')) return others;
    const mustGiveWay = others.some(
      (other, i) => standings[i] === 'owner' || (standings[i] === 'claimant' && other < name),
    );
    if (mustGiveWay) throw inUse;
  }
  throw inUse;
}

function standingOf(path: string): Promise<Standing> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = createConnection(path);
    // A stopped or very busy process still has what it had.
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => settle('owner'));
    socket.on('data', (bytes) => {
      answer += bytes;
    });
    socket.on('end', () => settle(answer === 'owner' || answer === 'claimant' ? answer : 'unclear'));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ENOTSOCK') settle('dead');
      else if (code === 'EACCES')
        reject(new StartError(`${path} belongs to another user; set DATA_DIR to another folder.`));
      else settle('unclear');
    });
    const settle = (standing: Standing): void => {
      socket.destroy();
      resolve(standing);
    };
  });
}

function listen(server: Server, path: string, folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', ({ code }: NodeJS.ErrnoException) => {
      const why =
        code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
          ? 'isn’t writable'
          : 'can’t hold a Unix socket';
      reject(new StartError(`The data folder ${folder} ${why} (${code}); set DATA_DIR to another folder.`));
    });
    server.listen(path, resolve);
  });
}

/** Closing takes the socket's file away, too. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
