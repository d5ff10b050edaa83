import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from './logger.ts';
import { type RedisServer, untilReady } from './redis-server.ts';
import { shutDown } from './redis-socket.ts';
import { sayWhenLate } from './say-when-late.ts';

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** A Redis that lived this long didn't die of how it was started. */
const SETTLED_MS = 10_000;
const SHUTDOWN_TIMEOUT_MS = 5000;
const SIGNAL_TIMEOUT_MS = 2000;

/** A Redis that is started again whenever it ends unasked, on the same socket. */
export class SupervisedRedis {
  readonly #launch: () => Promise<RedisServer>;
  readonly #socketPath: string;
  readonly #log: Pick<Log, 'info' | 'error'>;
  readonly #stopping = new AbortController();
  #server: RedisServer | undefined;
  #watch: Promise<void> | undefined;

  constructor(launch: () => Promise<RedisServer>, socketPath: string, log: Pick<Log, 'info' | 'error'>) {
    this.#launch = launch;
    this.#socketPath = socketPath;
    this.#log = log;
  }

  /** Resolves when it answers. Throws where it doesn't get there, or on abort; then, too, it has to be stopped. */
  async start(signal: AbortSignal): Promise<void> {
    await sayWhenLate(this.#log, this.#socketPath, () => this.#startOnce(signal));
    this.#watch = this.#keepAlive();
  }

  /** Resolves when its process has ended and its socket is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#watch;
    await this.#end();
    await rm(this.#socketPath, { force: true });
  }

  async #startOnce(signal: AbortSignal): Promise<void> {
    this.#server = await this.#launch();
    await untilReady(this.#server, this.#socketPath, signal);
  }

  async #keepAlive(): Promise<void> {
    const { signal } = this.#stopping;
    let backoffMs = FIRST_BACKOFF_MS;
    let reason = await this.#untilDeath();
    while (!signal.aborted) {
      this.#log.error({ reason, backoffMs }, 'the embedded Redis died and will be started again');
      await pause(backoffMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const startedAt = Date.now();
      reason = await this.#liveAgain(signal);
      backoffMs =
        Date.now() - startedAt > SETTLED_MS ? FIRST_BACKOFF_MS : Math.min(2 * backoffMs, MAX_BACKOFF_MS);
    }
  }

  /** One more life, and what it ended of. */
  async #liveAgain(signal: AbortSignal): Promise<string> {
    try {
      // A start that got nowhere may have left a process, and two must never share the files.
      await this.#end();
      await this.#startOnce(signal);
      this.#log.info({}, 'the embedded Redis is back');
      return await this.#untilDeath();
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #untilDeath(): Promise<string> {
    const ended = this.#server?.ended ?? AbortSignal.abort();
    const over = AbortSignal.any([ended, this.#stopping.signal]);
    if (!over.aborted) await once(over, 'abort');
    return (over.reason as Error).message;
  }

  async #end(): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.ended.aborted) return;
    const outcome = await shutDown(this.#socketPath, SHUTDOWN_TIMEOUT_MS);
    if (outcome === 'gone') await endWithin(server, SHUTDOWN_TIMEOUT_MS);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (server.ended.aborted) return;
      server.kill(signal);
      await endWithin(server, SIGNAL_TIMEOUT_MS);
    }
  }
}

async function endWithin(server: RedisServer, timeoutMs: number): Promise<void> {
  await pause(timeoutMs, undefined, { signal: server.ended }).catch(() => {});
}
