import cluster, { type Worker } from 'node:cluster';
import type { Config } from '../config.ts';
import { openLog } from '../log/logger.ts';
import { StartError } from '../log/start-error.ts';
import { type RunningServer, startServer } from '../server.ts';
import type { Order, Report } from './orders.ts';
import { ScrapeQuestions } from './scrape-questions.ts';

/** Serves as a worker until the primary says stop; resolves with the exit code. */
export async function work(): Promise<number> {
  const worker = cluster.worker as Worker;
  const stopping = new AbortController();
  let server: RunningServer | undefined;
  let idleMs = 0;
  const questions = new ScrapeQuestions((asked) => void tell(worker, { kind: 'scrape', asked }));
  const tellOwnMetrics = async () => {
    const samples = await server?.readOwnMetrics?.().catch(() => undefined);
    await tell(worker, { kind: 'measured', samples });
  };
  const config = new Promise<Config>((resolve) => {
    worker.on('message', (order: Order) => {
      switch (order.kind) {
        case 'run':
          return resolve(order.config);
        case 'stop':
          idleMs = order.idleMs;
          stopping.abort();
          return void server?.close(idleMs);
        case 'measure':
          return void tellOwnMetrics();
        case 'scraped':
          return questions.answered(order.asked, order.text);
        default:
          order satisfies never;
      }
    });
  });
  await tell(worker, { kind: 'here' });
  try {
    const settings = await config;
    const log = openLog(settings.logLevel, { worker: worker.id });
    server = await startServer(settings, log, stopping.signal, questions.ask);
    await tell(worker, { kind: 'listening', url: server.url });
    if (!stopping.signal.aborted) {
      await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve));
    }
    await server.close(idleMs);
    // What it counted since it was last asked.
    await tellOwnMetrics();
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 0;
    if (!(error instanceof StartError)) throw error;
    await tell(worker, { kind: 'refused', why: error.message });
    return 1;
  }
}

/** Where the primary is gone, so is this process in a moment. */
function tell(worker: Worker, report: Report): Promise<void> {
  return new Promise((resolve) => void worker.send(report, () => resolve()));
}
