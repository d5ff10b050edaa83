import type { Collectors } from './collectors.ts';

/** How many processes there should be, those that serve, and how many of them answered the scrape under way. */
export interface WorkerCounts {
  readonly wanted: number;
  readonly serving: number;
  readonly answering: number;
}

/** How much of the service a scrape tells of. */
export function addWorkerMetrics(collectors: Collectors, read: () => WorkerCounts): void {
  collectors.gauge('throughline_workers_wanted', 'Processes that should serve.', () => read().wanted);
  collectors.gauge('throughline_workers', 'Processes that serve.', () => read().serving);
  collectors.gauge(
    'throughline_workers_answering',
    'Those of them that answered this scrape; of the others it has only what they had counted before.',
    () => read().answering,
  );
}
