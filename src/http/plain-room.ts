import { formatCursor, parseCursor } from '../chat/cursors.ts';
import { entryJson, type GapNotice, type MessageEntry } from '../chat/entries.ts';
import { compareIds } from '../chat/ids.ts';
import type { RoomName } from '../chat/rooms.ts';
import type { People } from '../log/presence.ts';
import type { History } from '../log/read.ts';
import type { RoomView } from '../log/room-book.ts';
import { type EntryPrinter, gapWords, markOf } from './plain-entries.ts';
import { html, type Markup } from './plain-html.ts';

const REFRESH_S = 15;

/** Where a page of the room begins and how it is kept fresh. */
export interface View {
  readonly room: RoomName;
  readonly up: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly refreshS: number | undefined;
  /** It answers a leaving: who has left isn’t here, though the page stays open. */
  readonly hasLeft: boolean;
}

/** What a page of the room shows. */
export interface Shown {
  readonly room: RoomView;
  /** Some of them, and how many there are. */
  readonly rooms: { readonly rooms: readonly RoomView[]; readonly count: number };
  readonly history: History;
  readonly people: People;
}

/** The page’s own messages, and where the new ones among them begin. */
export function messagesMarkup(
  printer: EntryPrinter,
  view: View,
  { entries, facts, floor, hasMore }: History,
): Markup {
  const { room, up } = view;
  const first = entries[0];
  const older =
    hasMore && first
      ? html`<p class="older"><a href="${up}${room}?before=${first.id}">Older messages</a></p>`
      : undefined;
  const newest =
    view.before === undefined
      ? undefined
      : html`<p class="newer"><a href="${up}${room}">Newest messages</a></p>`;
  const seen = seenUpTo(view, facts.epoch, floor);
  let isMarked = false;
  const messages = entries.map((entry) => {
    const message = printer.message(JSON.parse(entryJson(room, entry)) as MessageEntry);
    if (isMarked || seen.id === undefined || compareIds(entry.id, seen.id) <= 0) return message;
    isMarked = true;
    return html`<h3 class="new" id="new">New</h3>\n${message}`;
  });
  const nothing =
    view.after === undefined || isMarked ? undefined : html`<p class="new" id="new">Nothing new.</p>`;
  return html`<section class="log" aria-label="Messages"><div class="list">
${older}
${seen.gap && html`<p class="gap">${gapWords(seen.gap)}</p>`}
${entries.length === 0 ? html`<p class="none">No messages yet. Say hello.</p>` : messages}
${nothing}${newest}
</div></section>`;
}

/** Up to where the reader of `?after=` had seen the room, or why that can’t be told. */
function seenUpTo({ after }: View, epoch: string, floor: History['floor']) {
  const nowhere = { id: undefined, gap: undefined };
  if (after === undefined) return nowhere;
  const cursor = parseCursor(after);
  const gap: GapNotice['reason'] | undefined =
    cursor === undefined
      ? 'unknown-cursor'
      : cursor.epoch !== epoch
        ? 'rollback'
        : compareIds(cursor.id, floor) < 0
          ? 'trimmed'
          : undefined;
  return gap === undefined ? { id: cursor?.id, gap } : { ...nowhere, gap };
}

/** What comes after the page’s own messages, in a frame; the link in it is for browsers without frames. */
export function frameMarkup({ room, up, refreshS }: View, { history, room: { n } }: Shown): Markup {
  const cursor = formatCursor(history.facts.epoch, history.facts.last);
  const told = history.entries.at(-1)?.n ?? n;
  const every = refreshS === undefined ? '' : `&every=${refreshS}`;
  const kept = refreshS === undefined ? '' : `&refresh=${refreshS}`;
  const other =
    refreshS === undefined
      ? html`<a href="${up}${room}?refresh=${REFRESH_S}">Refresh by itself every ${REFRESH_S} s</a>`
      : html`<a href="${up}${room}">Show new messages at once</a>`;
  return html`<iframe name="live" title="New messages" src="${up}${room}/live?after=${cursor}&amp;n=${told}${every}"></iframe>
<p class="how"><a href="${up}${room}?after=${cursor}${kept}#new">Refresh</a> · ${other}</p>`;
}

/** The other rooms. */
export function roomsMarkup({ up, room }: View, { rooms, count }: Shown['rooms']): Markup {
  const items = rooms.map((other) =>
    other.room === room
      ? html`<li><b aria-current="page"><bdi>${other.title}</bdi></b></li>`
      : html`<li><a href="${up}${other.room}"><bdi>${other.title}</bdi></a> <small>${other.n} messages</small></li>`,
  );
  const rest = count - rooms.length;
  return html`<ul>
${items}
</ul>
${rest > 0 ? html`<p>And ${rest} more.</p>` : undefined}`;
}

/** Who is here. */
export function peopleMarkup({ people, count }: People): Markup {
  const names = people.map((user) => html`<li><bdi>${user.name}</bdi>${markOf(user)}</li>`);
  return html`<h2>Here: ${count}</h2>
<ul>
${names}
</ul>`;
}
