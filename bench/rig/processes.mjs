// Starting and stopping what is measured, each process on the core that it belongs to. Nothing outlives the bench.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const SERVER_CORE = 0;
export const LOAD_CORE = 1;
/** Whether servers and load are kept apart. */
export const canPin =
  availableParallelism() > 1 && spawnSync('taskset', ['-V'], { stdio: 'ignore' }).status === 0;

// What the bench itself does, such as scraping, mustn't be done on the servers' core.
if (canPin)
  spawnSync('taskset', ['-a', '-c', '-p', String(LOAD_CORE), String(process.pid)], { stdio: 'ignore' });

const children = new Set();
const folders = new Set();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Starts a program on a core. */
export function start(
  core,
  program,
  args,
  { env = {}, cwd = ROOT, stdio = ['ignore', 'pipe', 'inherit'] } = {},
) {
  const [command, ...rest] = canPin ? ['taskset', '-c', String(core), program, ...args] : [program, ...args];
  const child = spawn(command, rest, { cwd, env: { ...process.env, ...env }, stdio });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.once('error', (error) => {
    console.error(`${program}: ${error.message}`);
    process.exit(1);
  });
  return child;
}

/** Ends a process that `start` started. */
export async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 4000);
  await exit;
  clearTimeout(timer);
}

/** A folder that is gone at the end. */
export function newFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'tl-bench-'));
  folders.add(folder);
  return {
    path: folder,
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    },
  };
}

/** A port that nobody listened on a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
