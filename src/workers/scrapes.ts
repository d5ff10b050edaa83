import { setTimeout as pause } from 'node:timers/promises';
import { Registry } from 'prom-client';
import type { Config } from '../config.ts';
import { Collectors } from '../metrics/collectors.ts';
import { addProcessMetrics } from '../metrics/process-metrics.ts';
import { additiveIn, countsIn, exposition, type Samples, samplesOf, together } from '../metrics/samples.ts';
import { addWorkerMetrics, type WorkerCounts } from '../metrics/worker-metrics.ts';
import type { WorkerLife } from './life.ts';

/** Half a second more than Redis is waited for by each of them. */
const ANSWER_WITHIN_MS = 2000;

/** How many workers there should be, and whether anybody may scrape them. */
type ScrapedConfig = Pick<Config, 'workers' | 'metricsPort' | 'metricsToken'>;

/** Reads the metrics of all workers as those of one service, whose counts don't go back when a worker ends. */
export class Scrapes {
  readonly #registry = new Registry();
  readonly #lives = new Set<WorkerLife>();
  readonly #stopProcessMetrics: () => void;
  /** What those that ended had counted. */
  #past: Samples = [];
  readonly #wanted: number;
  #workers: Pick<WorkerCounts, 'serving' | 'answering'> = { serving: 0, answering: 0 };
  #reading: Promise<string> | undefined;

  constructor({ workers, metricsPort, metricsToken }: ScrapedConfig) {
    this.#wanted = workers;
    const collectors = new Collectors(this.#registry);
    addWorkerMetrics(collectors, () => ({ wanted: this.#wanted, ...this.#workers }));
    const isScraped = metricsPort !== undefined || metricsToken !== undefined;
    this.#stopProcessMetrics = isScraped ? addProcessMetrics(collectors) : () => {};
  }

  /** From now on a worker's metrics are read, and what it counted is kept when it is gone. */
  include(life: WorkerLife): void {
    this.#lives.add(life);
    void life.gone.then(() => {
      this.#lives.delete(life);
      if (life.samples) this.#past = together([this.#past, countsIn(life.samples)]);
    });
  }

  /** In Prometheus' text format, within 2 s or so. Who asks while it is read gets the same. */
  read(): Promise<string> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Stops what measures by itself. */
  close(): void {
    this.#stopProcessMetrics();
  }

  async #read(): Promise<string> {
    const answers = await this.#ask();
    const lives = [...this.#lives];
    const serving = lives.filter(({ isListening }) => isListening);
    this.#workers = {
      serving: serving.length,
      answering: serving.filter((life) => answers.has(life)).length,
    };
    // Before anything else is waited for: whoever is gone by then is in the past as well.
    const told = [this.#past, ...lives.map((life) => tellOf(life, answers.get(life)))];
    return exposition([await samplesOf(this.#registry), ...told]);
  }

  async #ask(): Promise<ReadonlyMap<WorkerLife, Samples>> {
    const answers = new Map<WorkerLife, Samples>();
    const waiting = new AbortController();
    const asked = Array.from(this.#lives, async (life) => {
      if (!life.hasListened || life.hasEnded) return;
      const samples = await life.measure();
      if (samples) answers.set(life, samples);
    });
    const tooLate = pause(ANSWER_WITHIN_MS, undefined, { signal: waiting.signal }).catch(() => {});
    await Promise.race([Promise.all(asked), tooLate]);
    waiting.abort();
    return new Map(answers);
  }
}

/** What a scrape has of one worker. */
function tellOf({ isListening, samples = [] }: WorkerLife, answer: Samples | undefined): Samples {
  if (answer === undefined) return countsIn(samples);
  return isListening ? answer : additiveIn(answer);
}
