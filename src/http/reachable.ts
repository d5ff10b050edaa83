import { Refusal } from '../chat/refusals.ts';
import { refusalOf } from '../log/unreachable.ts';

/** What Redis answers, or the refusal `unavailable`: for reads, and for writes that are safe to repeat. */
export async function whenReachable<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof Refusal ? error : refusalOf(error, 'unsent');
  }
}
