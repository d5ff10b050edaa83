import { setTimeout as pause } from 'node:timers/promises';

/** What is answered within so many milliseconds; undefined where it comes later, or not at all. */
export async function within<T>(ms: number, ask: () => Promise<T>): Promise<T | undefined> {
  const waiting = new AbortController();
  const tooLate = pause(ms, undefined, { ref: false, signal: waiting.signal }).catch(() => undefined);
  try {
    return await Promise.race([ask(), tooLate]);
  } catch {
    return undefined;
  } finally {
    waiting.abort();
  }
}
