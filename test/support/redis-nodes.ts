import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './free-port.ts';
import { type Guard, OPEN } from './redis-guard.ts';
import { waitFor } from './wait-for.ts';

/** A redis-server of a test's own, on a TCP port and in a folder of its own. */
export class RedisNode {
  readonly port: number;
  readonly busPort: number;
  readonly client: Redis;
  readonly #folder: string;
  readonly #args: readonly string[];
  #child: ChildProcess;
  #exit: Promise<unknown>;

  private constructor(port: number, busPort: number, folder: string, args: readonly string[], guard: Guard) {
    this.port = port;
    this.busPort = busPort;
    this.#folder = folder;
    this.#args = args;
    [this.#child, this.#exit] = this.#spawn();
    this.client = new Redis(port, '127.0.0.1', {
      retryStrategy: () => 50,
      maxRetriesPerRequest: 0,
      ...guard.options,
    });
    this.client.on('error', () => {});
  }

  /** Starts one with these lines of configuration, in which `%bus` is a second free port. */
  static async start(
    lines: readonly string[],
    { program = [], guard = OPEN }: { program?: readonly string[]; guard?: Guard } = {},
  ): Promise<RedisNode> {
    const folder = await mkdtemp(join(tmpdir(), 'tl-node-'));
    const [port, busPort] = [await freePort(), await freePort()];
    const file = join(folder, 'redis.conf');
    const ports = guard.options.tls ? ['port 0', `tls-port ${port}`] : [`port ${port}`];
    const common = [...ports, 'bind 127.0.0.1', `dir ${folder}`, 'protected-mode no', ...guard.lines];
    await writeFile(file, [...common, ...lines].join('\n').replace('%bus', String(busPort)));
    const node = new RedisNode(port, busPort, folder, [file, ...program], guard);
    await waitFor(`the Redis on port ${port}`, () => node.client.ping().catch(() => undefined));
    return node;
  }

  #spawn(): [ChildProcess, Promise<unknown>] {
    const child = spawn('redis-server', this.#args, { stdio: 'ignore' });
    return [child, new Promise((resolve) => child.once('exit', resolve).once('error', resolve))];
  }

  /** Has it come back after `kill`, with what its folder holds. */
  async restart(): Promise<void> {
    [this.#child, this.#exit] = this.#spawn();
    await waitFor(`the Redis on port ${this.port}`, () => this.client.ping().catch(() => undefined));
  }

  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  async info(field: string): Promise<string | undefined> {
    return new RegExp(`${field}:(\\S+)`).exec(await this.client.info())?.[1];
  }

  /** Ends it without a word to anybody. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }

  /** It is there, and does nothing. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** As a replica: it hears nothing more from its master, and knows it. */
  async loseMaster(): Promise<void> {
    await this.client.config('SET', 'masterauth', 'wrong');
    await this.client.config('SET', 'masteruser', 'nobody');
    await this.client.call('CLIENT', 'KILL', 'TYPE', 'MASTER');
    await waitFor('the link is down', async () => (await this.info('master_link_status')) === 'down');
  }

  /** Undoes `loseMaster`. */
  async findMaster(): Promise<void> {
    await this.client.config('SET', 'masteruser', '');
    await this.client.config('SET', 'masterauth', '');
  }

  async remove(): Promise<void> {
    this.client.disconnect();
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Settings of all servers: a replica is synchronised at once, and nothing is written to a disk. */
export const SERVER_LINES = [
  'save ""',
  'appendonly no',
  'repl-diskless-sync yes',
  'repl-diskless-sync-delay 0',
  'repl-diskless-load swapdb',
];
