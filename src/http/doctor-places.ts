import { Refusal } from '../chat/refusals.ts';

const RETRY_AFTER_S = 20;

/** How many of the doctor's probes run in this process at once; nobody needs to be known to ask for one. */
export class ProbePlaces {
  readonly #most: number;
  readonly #endings = new Set<() => void>();
  #isClosed = false;

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a place, and answers how it is given back. `end` ends the probe early. Refusal: `unavailable`. */
  take(end: () => void): () => void {
    if (this.#isClosed || this.#endings.size >= this.#most) {
      throw new Refusal('unavailable', 'Too many browsers are being examined just now.', {
        retryAfter: RETRY_AFTER_S,
      });
    }
    this.#endings.add(end);
    return () => void this.#endings.delete(end);
  }

  /** Ends every probe and lets none in any more: the service stops. */
  endAll(): void {
    this.#isClosed = true;
    for (const end of [...this.#endings]) end();
  }
}
