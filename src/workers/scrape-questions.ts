import { setTimeout as pause } from 'node:timers/promises';
import { Refusal } from '../chat/refusals.ts';

/** More than the primary waits for its workers. */
const ANSWER_WITHIN_MS = 5000;

/** A worker's questions to the primary for the metrics of all, and their answers. */
export class ScrapeQuestions {
  readonly #send: (asked: number) => void;
  readonly #open = new Map<number, (text: string | undefined) => void>();
  #asked = 0;

  constructor(send: (asked: number) => void) {
    this.#send = send;
  }

  /** Refusal: `unavailable`. */
  readonly ask = async (): Promise<string> => {
    const asked = ++this.#asked;
    const waiting = new AbortController();
    try {
      const answer = new Promise<string | undefined>((resolve) => this.#open.set(asked, resolve));
      this.#send(asked);
      const tooLate = pause(ANSWER_WITHIN_MS, undefined, { signal: waiting.signal }).catch(() => undefined);
      const text = await Promise.race([answer, tooLate]);
      if (text === undefined) throw new Refusal('unavailable', 'The metrics can’t be read just now.');
      return text;
    } finally {
      waiting.abort();
      this.#open.delete(asked);
    }
  };

  answered(asked: number, text: string | undefined): void {
    this.#open.get(asked)?.(text);
  }
}
