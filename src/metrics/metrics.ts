import { Registry } from 'prom-client';
import type { DoctorCounts } from '../log/doctor-counts.ts';
import type { RedisClient } from '../log/redis-client.ts';
import { readVitals } from '../log/vitals.ts';
import { Collectors } from './collectors.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { type Samples, samplesOf } from './samples.ts';
import { type Asked, addServiceMetrics, type ServiceParts } from './service-metrics.ts';
import { within } from './within.ts';
import { addWorkerMetrics } from './worker-metrics.ts';

/** What the metrics are read from. */
export interface MetricsSources extends ServiceParts {
  readonly redis: RedisClient;
  readonly doctorCounts: DoctorCounts;
}

/** Less than a primary waits for its workers. */
const ANSWER_WITHIN_MS = 1500;

/** The metrics of one service, in a registry of its own: two services in one process share none but the process'. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #sources: MetricsSources;
  readonly #stopProcessMetrics: () => void;
  #asked: Asked = { vitals: undefined, doctor: undefined };

  constructor(sources: MetricsSources, { isWorker }: { readonly isWorker: boolean }) {
    this.#sources = sources;
    const collectors = new Collectors(this.#registry);
    // Of workers the primary knows how many there are.
    if (!isWorker) addWorkerMetrics(collectors, () => ({ wanted: 1, serving: 1, answering: 1 }));
    addServiceMetrics(collectors, sources, () => this.#asked);
    this.#stopProcessMetrics = addProcessMetrics(collectors);
  }

  /** Everything as it is now, in Prometheus' text format. Redis is asked meanwhile, for 1.5 s at most. */
  async text(): Promise<string> {
    await this.#askRedis();
    return this.#registry.metrics();
  }

  /** The same as values. */
  async samples(): Promise<Samples> {
    await this.#askRedis();
    return samplesOf(this.#registry);
  }

  /** Stops what measures by itself; what was counted can still be read. Safe to call twice. */
  close(): void {
    this.#stopProcessMetrics();
  }

  async #askRedis(): Promise<void> {
    const { redis, shards, doctorCounts } = this.#sources;
    const keys = shards.map((shard) => shard.keys);
    const [vitals, doctor] = await Promise.all([
      within(ANSWER_WITHIN_MS, () => readVitals(redis, keys)),
      within(ANSWER_WITHIN_MS, () => doctorCounts.read()),
    ]);
    this.#asked = { vitals, doctor };
  }
}
