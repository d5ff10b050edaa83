import cluster from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config.ts';
import { listen } from '../http/listen.ts';
import { startEmbeddedRedis } from '../log/embedded-redis.ts';
import type { Log } from '../log/logger.ts';
import { StartError } from '../log/start-error.ts';
import { type MetricsPort, openMetricsPort } from '../metrics/tell-metrics.ts';
import { type Redirect, redirectTo } from '../server.ts';
import { WORKER_ARGUMENT } from './orders.ts';
import { Scrapes } from './scrapes.ts';
import { Workers } from './workers.ts';

/** A service of several processes that listen on one port. */
export interface RunningWorkers {
  /** Where it is reached from this machine, with the base path and without a slash at the end. */
  readonly url: string;
  /** Aborts with a StartError when no worker lives and none can be started. */
  readonly failure: AbortSignal;
  /** Puts a new worker in the place of each, one at a time; meanwhile no connection is refused. */
  restart(): void;
  /** Ends all workers gracefully, then the private Redis. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Starts `config.workers` processes of this program, over one Redis: the configured one, or a private one of this
 * process. Throws a StartError, or where a signal gave the start up; then nothing is left running.
 */
export async function startWorkers(config: Config, log: Log, signal: AbortSignal): Promise<RunningWorkers> {
  if (!cluster.isPrimary)
    throw new StartError('WORKERS can’t be used under another process manager’s cluster.');
  cluster.setupPrimary({ args: [WORKER_ARGUMENT] });
  const { dataDir, host } = config;
  // Left to the workers it would change when all of them have died.
  const port = config.port || (await freePort(host));
  const embedded =
    config.redisUrl === undefined ? await startEmbeddedRedis({ dataDir, log, signal }) : undefined;
  const scrapes = new Scrapes(config);
  const workers = new Workers(
    {
      ...config,
      port,
      redisUrl: embedded?.socketPath ?? config.redisUrl,
      httpRedirectPort: undefined,
    },
    log,
    scrapes,
  );
  let metrics: MetricsPort | undefined;
  let redirect: Redirect | undefined;
  const closeMetrics = () => {
    metrics?.close();
    scrapes.close();
  };
  const giveUp = () => void workers.stop();
  signal.addEventListener('abort', giveUp);
  try {
    signal.throwIfAborted();
    metrics = await openMetricsPort(config, () => scrapes.read(), log);
    const url = await workers.start(config.workers);
    redirect =
      config.httpRedirectPort === undefined
        ? undefined
        : await redirectTo(Number(new URL(url).port || 443), config);
    workers.failure.throwIfAborted();
    let closing: Promise<void> | undefined;
    const close = async () => {
      await Promise.all([workers.stop(), redirect?.close()]);
      closeMetrics();
      await embedded?.close();
    };
    return {
      url,
      failure: workers.failure,
      restart: () => workers.restart(),
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await Promise.all([workers.stop(), redirect?.close()]);
    closeMetrics();
    await embedded?.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** A port that is free now. Throws a StartError. */
async function freePort(host: string): Promise<number> {
  const server = createServer();
  await listen(server, 0, host);
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
