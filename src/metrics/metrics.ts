import { Registry } from 'prom-client';
import type { DoctorCounts } from '../log/doctor-counts.ts';
import type { RedisClient } from '../log/redis-client.ts';
import { readVitals } from '../log/vitals.ts';
import { Collectors } from './collectors.ts';
import { addProcessMetrics } from './process-metrics.ts';
import { type Asked, addServiceMetrics, type ServiceParts } from './service-metrics.ts';

/** What the metrics are read from. */
export interface MetricsSources extends ServiceParts {
  readonly redis: RedisClient;
  readonly doctorCounts: DoctorCounts;
}

const ANSWER_WITHIN_MS = 2000;

/** The metrics of one service, in a registry of its own: two services in one process share none but the process'. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #sources: MetricsSources;
  readonly #stopProcessMetrics: () => void;
  #asked: Asked = { vitals: undefined, doctor: undefined };

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    const collectors = new Collectors(this.#registry);
    addServiceMetrics(collectors, sources, () => this.#asked);
    this.#stopProcessMetrics = addProcessMetrics(collectors);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything as it is now, in Prometheus' text format. Redis is asked meanwhile, for 2 s at most. */
  async read(): Promise<string> {
    const { redis, shards, doctorCounts } = this.#sources;
    const keys = shards.map((shard) => shard.keys);
    const vitals = await readVitals(redis, keys, ANSWER_WITHIN_MS);
    const doctor = vitals && (await doctorCounts.read().catch(() => undefined));
    this.#asked = { vitals, doctor };
    return this.#registry.metrics();
  }

  /** Stops what measures by itself. Safe to call twice. */
  close(): void {
    this.#stopProcessMetrics();
  }
}
