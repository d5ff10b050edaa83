import { Refused } from '../client.ts';
import type { State } from '../feed.ts';

const LONGEST_PAUSE_MS = 20_000;

/** Who tries again, and how the wait is told and cut short. */
export interface Insisting {
  /** Whether the answer is still of interest. */
  isWanted(): boolean;
  tell(state: State): void;
  /** Hands out what ends the wait at once. */
  onWait(hurry: () => void): void;
}

/** Asks until the service answers, or refuses for good, or nobody wants to know any more; then it throws. */
export async function insist<T>(ask: () => Promise<T>, { isWanted, tell, onWait }: Insisting): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Refused) || !error.isPassing || !isWanted()) throw error;
      // Full jitter: after an outage not everybody comes back at once.
      const ms =
        (error.retryAfterMs ?? 0) + 300 + Math.random() * Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** attempt);
      const { code } = error;
      const reason = code === 'blocked' || code === 'unreachable' ? code : 'busy';
      tell({ phase: 'offline', reason, nextTryAt: Date.now() + ms });
      await new Promise<void>((resolve) => {
        setTimeout(resolve, ms);
        onWait(resolve);
      });
      tell({ phase: 'connecting' });
    }
  }
}
