import type { Log } from '../log/logger.ts';
import { Metrics, type MetricsSources } from './metrics.ts';
import type { Samples } from './samples.ts';
import {
  type MetricsOptions,
  openMetricsPort,
  type ReadMetrics,
  type TellMetrics,
  tellMetrics,
} from './tell-metrics.ts';

/** Metrics that can be scraped. */
export interface OpenMetrics {
  /** For `GET /metrics` of the service itself; undefined where there is no token. Calls `next` for whoever hasn't it. */
  readonly tell: TellMetrics | undefined;
  /** Where they are on a port of their own; undefined without one. */
  readonly url: string | undefined;
  /** This process' own, for whoever adds them up; also after `close`. */
  samples(): Promise<Samples>;
  /** Safe to call twice. */
  close(): void;
}

/**
 * Opens the metrics where the settings want them; undefined if nowhere. With `readAll`, which reads those of all workers,
 * this is one of them: it tells those, and the port is the primary's. Throws a StartError if the port can't be had.
 */
export async function openMetrics(
  options: MetricsOptions,
  sources: MetricsSources,
  log: Log,
  readAll: ReadMetrics | undefined,
): Promise<OpenMetrics | undefined> {
  const { metricsPort, metricsToken } = options;
  if (metricsPort === undefined && metricsToken === undefined) return undefined;
  const metrics = new Metrics(sources, { isWorker: readAll !== undefined });
  const read = readAll ?? (() => metrics.text());
  try {
    const port = readAll ? undefined : await openMetricsPort(options, read, log);
    return {
      tell: metricsToken === undefined ? undefined : tellMetrics(read, metricsToken),
      url: port?.url,
      samples: () => metrics.samples(),
      close: () => {
        metrics.close();
        port?.close();
      },
    };
  } catch (error) {
    metrics.close();
    throw error;
  }
}
