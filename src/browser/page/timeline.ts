import type { MessageEntry } from '../../chat/entries.ts';
import { compareIds } from '../cursors.ts';

/** What a page of history tells; the live feed's messages come without `more` and `floor`. */
export interface Loaded {
  readonly events: readonly MessageEntry[];
  readonly more: boolean;
  readonly floor: string;
}

/** One line of what is shown of a room. `key` stays the same as long as it is the same line. */
export type Row =
  | { readonly key: string; readonly kind: 'day'; readonly at: number }
  | { readonly key: string; readonly kind: 'unread' | 'gap' }
  /** `follows`: belongs to the message above it, so that the name isn't repeated. */
  | {
      readonly key: string;
      readonly kind: 'message';
      readonly message: MessageEntry;
      readonly follows: boolean;
    };

const GROUP_MS = 300_000;

/** What this page holds of a room: a run of messages by id, and where it may have holes. */
export interface Timeline {
  messages: MessageEntry[];
  /** Whether the service has older ones, as far as is known. */
  hasMore: boolean;
  /** The room's floor when it was last told: `0-0` where nothing was ever trimmed. */
  floor: string;
  /** Ids after which messages may be missing. */
  gaps: string[];
}

/** A room of which nothing is known yet. */
export const emptyTimeline = (): Timeline => ({ messages: [], hasMore: true, floor: '0-0', gaps: [] });

/** Puts messages where they belong by their ids, each once; history and feed may tell the same. Returns those that are new. */
export function merge(timeline: Timeline, events: readonly MessageEntry[]): MessageEntry[] {
  const { messages } = timeline;
  return events.filter((event) => {
    let at = messages.length;
    let order = 1;
    // From the end: news is nearly always newest.
    for (; at > 0; at--) {
      order = compareIds(event.id, (messages[at - 1] as MessageEntry).id);
      if (order >= 0) break;
    }
    if (at > 0 && order === 0) return false;
    messages.splice(at, 0, event);
    return true;
  });
}

/** Takes in a page that ends where the held messages begin, or the newest page of a room. */
export function takePage(timeline: Timeline, page: Loaded): void {
  const oldest = timeline.messages[0];
  const first = page.events[0];
  merge(timeline, page.events);
  timeline.floor = page.floor;
  if (!oldest || !first || compareIds(first.id, oldest.id) <= 0) timeline.hasMore = page.more;
}

/** Whether nothing unloaded lies between what is held up to the id `edge` and a page. */
export function joins(edge: string, page: Loaded): boolean {
  const first = page.events[0];
  return !first || !page.more || compareIds(first.prev, edge) <= 0;
}

/** The id of the newest message held; `0-0` if there is none. */
export function newestId({ messages }: Timeline): string {
  const newest = messages[messages.length - 1];
  return newest ? newest.id : '0-0';
}

/** Notes that after the newest message held something may be missing. Returns that message's id. */
export function noteGap(timeline: Timeline): string {
  const after = newestId(timeline);
  if (timeline.gaps.indexOf(after) < 0) timeline.gaps.push(after);
  return after;
}

/** Forgets the oldest messages beyond `most`; they can be loaded again. */
export function trim(timeline: Timeline, most: number): void {
  const excess = timeline.messages.length - most;
  if (excess <= 0) return;
  timeline.messages.splice(0, excess);
  timeline.hasMore = true;
}

const localDay = (at: number) => new Date(at).toDateString();

/**
 * The lines to show. `readUpTo`: the number of the last message that was read, if a divider is wanted after it.
 * A divider stands only between messages: nothing is divided where all is new or none.
 */
export function rowsOf(
  { messages, gaps }: Timeline,
  readUpTo: number | undefined,
  dayOf: (at: number) => string = localDay,
): Row[] {
  const rows: Row[] = [];
  const open = gaps.slice().sort(compareIds);
  let last: MessageEntry | undefined;
  let isDivided = readUpTo === undefined;
  const close = (before?: string) => {
    while (open.length > 0 && (before === undefined || compareIds(open[0] as string, before) < 0)) {
      rows.push({ key: `gap:${open.shift()}`, kind: 'gap' });
      last = undefined;
    }
  };
  let day = '';
  for (const message of messages) {
    close(message.id);
    const itsDay = dayOf(message.at);
    if (itsDay !== day) {
      rows.push({ key: `day:${itsDay}`, kind: 'day', at: message.at });
      last = undefined;
    }
    day = itsDay;
    if (!isDivided && message.n > (readUpTo as number)) {
      isDivided = true;
      rows.push({ key: 'unread', kind: 'unread' });
      last = undefined;
    }
    const follows = last !== undefined && last.user.id === message.user.id && message.at - last.at < GROUP_MS;
    rows.push({ key: message.id, kind: 'message', message, follows });
    last = message;
  }
  close();
  return rows;
}
