import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Config } from '../config.ts';
import type { Samples } from '../metrics/samples.ts';
import type { ReadMetrics } from '../metrics/tell-metrics.ts';
import type { Order, Report } from './orders.ts';

/** Beyond the drain time: to leave Redis, and to end. */
const FAREWELL_MS = 5000;

/** One worker from its start to its end, as the primary sees it. */
export class WorkerLife {
  readonly id: number;
  readonly startedAt = performance.now();
  /** Resolves with its URL, or with undefined where it ended without having listened. */
  readonly listening: Promise<string | undefined>;
  /** Resolves with how it ended: `exit code 1`, `SIGKILL`. */
  readonly ended: Promise<string>;
  /** Resolves when it has ended and its last word was heard, which may be later. */
  readonly gone: Promise<void>;
  /** Its metrics as it told them last. */
  samples: Samples | undefined;
  /** The sentence with which it couldn't start. */
  refusal: string | undefined;
  isListening = false;
  hasListened = false;
  hasEnded = false;
  /** Another stands in for it, so its end is no loss. */
  isReplaced = false;
  readonly #worker: Worker;
  readonly #config: Config;
  readonly #readAllMetrics: ReadMetrics;
  #isHere = false;
  #measuring: Promise<Samples | undefined> | undefined;
  #measured: (samples: Samples | undefined) => void = () => {};

  constructor(config: Config, readAllMetrics: ReadMetrics) {
    this.#config = config;
    this.#readAllMetrics = readAllMetrics;
    this.#worker = cluster.fork();
    this.id = this.#worker.id;
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.hasEnded = true;
        this.isListening = false;
        this.#measured(undefined);
        resolve(how);
      };
      this.#worker.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      const { pid } = this.#worker.process;
      // A process that couldn't be made has no id, and never exits.
      this.#worker.on('error', (error) => pid === undefined && end(error.message));
    });
    this.gone = this.ended.then(async () => {
      if (this.#worker.isConnected()) await once(this.#worker, 'disconnect');
    });
    this.listening = new Promise((resolve) => {
      this.#worker.on('message', (report: Report) => this.#hear(report, resolve));
      void this.ended.then(() => resolve(undefined));
    });
  }

  /** Asks it to end, and ends it where it doesn't. Resolves when it has ended. */
  async stop(idleMs: number): Promise<void> {
    this.isListening = false;
    // It has begun nothing yet.
    if (!this.#isHere) this.#worker.kill('SIGKILL');
    else this.#tell({ kind: 'stop', idleMs });
    const over = new AbortController();
    void this.ended.then(() => over.abort());
    const patienceMs = idleMs + this.#config.drainMs + FAREWELL_MS;
    await pause(patienceMs, undefined, { signal: over.signal }).catch(() => {});
    if (!this.hasEnded) this.#worker.kill('SIGKILL');
    await this.ended;
  }

  /**
   * Resolves with its metrics, or with undefined where it couldn't read them or ended. One that hangs is asked once,
   * however many wait, so that nothing heaps up for it.
   */
  measure(): Promise<Samples | undefined> {
    this.#measuring ??= new Promise<Samples | undefined>((resolve) => {
      this.#measured = resolve;
      if (this.hasEnded) resolve(undefined);
      this.#tell({ kind: 'measure' });
    }).finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  async #answerScrape(asked: number): Promise<void> {
    const text = await this.#readAllMetrics().catch(() => undefined);
    this.#tell({ kind: 'scraped', asked, text });
  }

  #hear(report: Report, resolveListening: (url: string) => void): void {
    switch (report.kind) {
      case 'here':
        this.#isHere = true;
        return this.#tell({ kind: 'run', config: this.#config });
      case 'listening':
        this.isListening = true;
        this.hasListened = true;
        return resolveListening(report.url);
      case 'refused':
        this.refusal = report.why;
        return;
      case 'measured':
        this.samples = report.samples ?? this.samples;
        return this.#measured(report.samples);
      case 'scrape':
        return void this.#answerScrape(report.asked);
      default:
        report satisfies never;
    }
  }

  /** A worker that can't be told anything has ended. */
  #tell(order: Order): void {
    this.#worker.send(order, () => {});
  }
}
