import { LinkifyIt } from 'linkify-it';
import type { GapNotice, MessageEntry, WireEvent } from '../chat/entries.ts';
import { idTime, ZERO_ID } from '../chat/ids.ts';
import type { User } from '../chat/users.ts';
import type { Frame } from '../delivery/frame.ts';
import type { Encoding } from '../delivery/run.ts';
import { html, Markup } from './plain-html.ts';

/** Turns entries into HTML. */
export class EntryPrinter {
  readonly #linkify = new LinkifyIt({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false, maxLength: 2000 });

  /** News as HTML. The same function for all readers. */
  readonly inHtml: Encoding = (frames) => Buffer.from(frames.map((frame) => this.#news(frame)).join(''));

  /** A message, with the day above it where it is the first of one: as told by its own `prev`, so by itself. */
  message({ id, prev, n, at, user, text }: MessageEntry): Markup {
    const time = new Date(at).toISOString();
    const day = time.slice(0, 10);
    const isFirstOfDay = prev === ZERO_ID || dayOf(idTime(prev)) !== day;
    return html`${isFirstOfDay ? html`<h3 class="day"><time datetime="${day}">${day}</time></h3>\n` : undefined}<article class="message" id="m-${id}" data-id="${id}" data-prev="${prev}" data-n="${n}">
<p class="by"><b><bdi>${user.name}</bdi></b>${markOf(user)} <time datetime="${time}">${time.slice(11, 16)}<small> UTC</small></time></p>
<p class="text" dir="auto">${this.#linked(text)}</p>
</article>
`;
  }

  #news(frame: Frame): string {
    const event = JSON.parse(frame.json.toString()) as WireEvent;
    if (event.kind === 'message') return this.message(event).text;
    // Who is here is told by the page; the frame isn’t a place for comings and goings.
    return event.kind === 'gap' ? gapMarkup(event).text : '';
  }

  #linked(text: string): Markup[] {
    const parts: Markup[] = [];
    let end = 0;
    for (const { index, lastIndex, url, raw } of this.#linkify.match(text) ?? []) {
      if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) continue;
      parts.push(broken(text.slice(end, index)));
      parts.push(
        html`<a href="${url}" target="_blank" rel="noopener noreferrer nofollow ugc" dir="ltr">${raw}</a>`,
      );
      end = lastIndex;
    }
    return [new Markup([...parts, broken(text.slice(end))].map((part) => part.text).join(''))];
  }
}

/** What is to be known of somebody besides the name: above all, that nobody vouches for a guest. */
export function markOf({ guest, bot, role }: User): Markup | undefined {
  const kind = guest ? 'guest' : bot ? 'bot' : role;
  return kind && html` <small>(${kind})</small>`;
}

/** Line ends as they look without CSS, too. */
function broken(text: string): Markup {
  const lines = text.split(/\r\n|\r|\n/).map((line) => html`${line}`.text);
  return new Markup(lines.join('<br>'));
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The words for a place after which nobody knows what was said. */
export function gapWords(reason: GapNotice['reason']): string {
  switch (reason) {
    case 'trimmed':
      return 'Some messages at this place are so old that they have left the log.';
    case 'rollback':
      return 'The log went back to an earlier state at this place; some messages may be missing or told again.';
    case 'unknown-cursor':
      return 'It isn’t known where you stopped reading; some messages may be missing or told again.';
    default:
      reason satisfies never;
      return '';
  }
}

function gapMarkup({ room, after, reason }: GapNotice): Markup {
  // `room` is the frame’s own; the link leads to the page around it.
  return html`<p class="gap" data-gap="${reason}" data-after="${after}">${gapWords(reason)} <a href="../${room}" target="_top">Load the room again</a></p>
`;
}
