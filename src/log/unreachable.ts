import { ReplyError } from 'ioredis';
import { Refusal } from '../chat/refusals.ts';

/** Seconds after which a client may try again when Redis is away. */
const RETRY_AFTER_S = 1;

/**
 * What a failed command means to whoever asked. Redis answered an error, or nothing was sent: `unavailable`, nothing
 * was done. Sent, and the connection broke or the time was up: `unsure`.
 */
export function refusalOf(error: unknown, was: 'sent' | 'unsent'): Refusal {
  const isDone = was === 'unsent' || error instanceof ReplyError || isUnsent(error);
  const cause = { cause: error };
  return isDone
    ? new Refusal(
        'unavailable',
        'The service can’t reach its store. Nothing was sent.',
        { retryAfter: RETRY_AFTER_S },
        cause,
      )
    : new Refusal(
        'unsure',
        'The service’s store didn’t answer. Try again with the same clientId.',
        { retryAfter: RETRY_AFTER_S },
        cause,
      );
}

/** What a post comes to that the master has, but not every replica that must. */
export function tooFewReplicas(): Refusal {
  return new Refusal('unsure', 'The message isn’t on every replica yet. Try again with the same clientId.', {
    retryAfter: RETRY_AFTER_S,
  });
}

/** ioredis' words for a command that it never wrote, its offline queue being off. */
const UNSENT = /^(Stream isn't writeable|Cluster isn't ready|None of startup nodes is available)/;

function isUnsent(error: unknown): boolean {
  return error instanceof Error && UNSENT.test(error.message);
}

/** What Redis answers, or the refusal `unavailable`: for reads, and for writes that are safe to repeat. */
export async function whenReachable<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof Refusal ? error : refusalOf(error, 'unsent');
  }
}
