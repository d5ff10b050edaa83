import type { Log } from './logger.ts';

const TOLD_AFTER_MS = 2000;

/** Waits for Redis, and tells the operator after 2 s why nothing happens. */
export async function sayWhenLate<T>(
  log: Pick<Log, 'info'>,
  redis: string,
  wait: () => Promise<T>,
): Promise<T> {
  const late = setTimeout(
    () => log.info({ redis }, 'waiting for Redis, which is slow or loading its data'),
    TOLD_AFTER_MS,
  );
  try {
    return await wait();
  } finally {
    clearTimeout(late);
  }
}
