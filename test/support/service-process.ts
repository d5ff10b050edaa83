import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { waitFor } from './wait-for.ts';

const MAIN = join(import.meta.dirname, '../../dist/main.js');

/** The built service as a process of its own. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly exit: Promise<number | string>;
  hasExited = false;
  out = '';
  err = '';

  constructor(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: {
        PATH: process.env['PATH'],
        HOST: '127.0.0.1',
        LOG_LEVEL: 'silent',
        POST_BURST: '100000',
        BYE_SPREAD_MS: '200',
        WARM_UP: 'off',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (bytes) => {
      this.out += bytes;
    });
    this.child.stderr?.on('data', (bytes) => {
      this.err += bytes;
    });
    this.exit = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.hasExited = true;
        resolve(code ?? (signal as string));
      }),
    );
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string> {
    this.child.kill(signal);
    return this.exit;
  }

  /** Waits until it says where it is, without a slash at the end. */
  async url(): Promise<string> {
    const said = () => /^Throughline is at (\S+)\/$/m.exec(this.out)?.[1];
    await waitFor('the service', () => this.hasExited || said(), 20_000);
    if (this.hasExited) throw new Error(`the service has ended: ${this.err}`);
    return said() as string;
  }
}

/** Whether there is a process of that id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The children of a process: their ids and command lines. */
export function childrenOf(pid: number | undefined): { pid: number; command: string }[] {
  const lines = execFileSync('ps', ['-axo', 'pid=,ppid=,command='], { encoding: 'utf8' }).trim().split('\n');
  return lines.flatMap((line) => {
    const [, id, parent, command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return Number(parent) === pid ? [{ pid: Number(id), command }] : [];
  });
}
