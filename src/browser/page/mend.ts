import type { GapReason } from '../../chat/entries.ts';
import { compareIds } from '../cursors.ts';
import { joins, type Loaded, noteGap, type Timeline, takePage } from './timeline.ts';

const MOST_PAGES = 5;

/**
 * Loads a room again whose feed has a hole, and marks the place. What was trimmed from the log and is still held stays,
 * if what is there now can be loaded up to it; after a rollback only what the service still has is true.
 */
export async function mend(
  timeline: Timeline,
  reason: GapReason,
  load: (before?: string) => Promise<Loaded>,
): Promise<void> {
  const edge = noteGap(timeline);
  if (reason !== 'trimmed') timeline.messages = [];
  let first = await load();
  const pages = [first];
  while (reason === 'trimmed' && !joins(edge, first) && pages.length < MOST_PAGES) {
    const [oldest] = first.events;
    first = await load(oldest ? oldest.id : undefined);
    pages.push(first);
  }
  const isCutOff = reason !== 'trimmed' || !joins(edge, first);
  if (isCutOff) timeline.messages = timeline.messages.filter(({ id }) => compareIds(id, edge) > 0);
  for (const page of pages) takePage(timeline, page);
  if (isCutOff) timeline.hasMore = first.more;
}
