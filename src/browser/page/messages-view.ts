import type { MessageEntry } from '../../chat/entries.ts';
import { avatarOf, find, make, onClick, whoIs } from './elements.ts';
import { mayHaveLinks } from './load-links.ts';
import type { Words } from './strings.ts';
import type { Row } from './timeline.ts';

/** What the view of messages asks of whoever uses it. */
interface MessagesHost {
  readonly words: () => Words;
  readonly textNodes: (text: string) => Node[];
  readonly isOwn: (message: MessageEntry) => boolean;
  /** The reader nears the oldest line. */
  nearTop(): void;
  /** The reader arrived at, or left, the newest line. */
  moved(): void;
}

/** How rows came about: by opening a room, by reading back, or by news. */
export type Occasion = 'opened' | 'older' | 'news';

const NEAR_TOP_PX = 600;
const NEAR_BOTTOM_PX = 40;
const SILENCE_MS = 400;

/** The lines of a room, in an element that scrolls. */
export function openMessagesView(host: MessagesHost) {
  const scroller = find('scroller');
  const log = find('log');
  const latest = find('latest');
  const elements = new Map<string, HTMLElement>();
  let isAtBottom = true;
  let silence: number | undefined;

  const toBottom = () => {
    scroller.scrollTop = scroller.scrollHeight;
    isAtBottom = true;
    latest.hidden = true;
  };

  /** Only news is to be read aloud: what is put in by other occasions isn't. */
  const keepSilent = () => {
    clearTimeout(silence);
    log.setAttribute('aria-live', 'off');
    silence = setTimeout(() => log.removeAttribute('aria-live'), SILENCE_MS);
  };

  /** A message that begins within the view: one that reaches in from above may lose its head when others come before it. */
  const firstVisible = () => {
    const top = scroller.getBoundingClientRect().top;
    const messages = Array.from(log.querySelectorAll('.message'));
    return messages.find((line) => line.getBoundingClientRect().top >= top) ?? messages[messages.length - 1];
  };

  const elementOf = (row: Row): HTMLElement => {
    const t = host.words();
    if (row.kind === 'day') return make('p', 'divider day', make('span', '', t.day(row.at)));
    if (row.kind !== 'message')
      return make('p', `divider ${row.kind}`, make('span', '', t(row.kind === 'gap' ? 'gap' : 'newHere')));
    const { message } = row;
    const { at, user, text } = message;
    const isOwn = host.isOwn(message);
    const name = make('p', 'name', ...whoIs(user, t));
    if (isOwn) name.append(make('span', 'mark', ` (${t('you')})`));
    const time = make('time', '', t.time(at));
    time.dateTime = new Date(at).toISOString();
    time.title = t.moment(at);
    const words = make('p', 'text', ...host.textNodes(text));
    words.dir = 'auto';
    return make('article', isOwn ? 'message own' : 'message', avatarOf(user), name, time, words);
  };

  const place = (rows: readonly Row[]) => {
    const wanted = new Set(rows.map(({ key }) => key));
    elements.forEach((element, key) => {
      if (wanted.has(key)) return;
      element.remove();
      elements.delete(key);
    });
    let at = log.firstChild;
    for (const row of rows) {
      const element = elements.get(row.key) ?? elementOf(row);
      elements.set(row.key, element);
      if (row.kind === 'message') element.classList.toggle('follows', row.follows);
      if (element === at) at = at.nextSibling;
      else log.insertBefore(element, at);
    }
  };

  scroller.addEventListener(
    'scroll',
    () => {
      isAtBottom = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BOTTOM_PX;
      latest.hidden = isAtBottom;
      if (isAtBottom) latest.classList.remove('news');
      if (scroller.scrollTop < NEAR_TOP_PX) host.nearTop();
      host.moved();
    },
    { passive: true },
  );
  onClick('latest', () => {
    toBottom();
    host.moved();
    find('text').focus();
  });
  /** What changes the heights must not change whether one is at the bottom. */
  const settle = () => {
    if (isAtBottom) toBottom();
  };
  addEventListener('resize', settle);
  if (typeof ResizeObserver === 'function') new ResizeObserver(settle).observe(scroller);

  return {
    isAtBottom: () => isAtBottom,
    settle,
    toBottom,
    /** Makes the nodes of texts anew that may have links. That isn't news, and takes no more room. */
    refreshTexts() {
      keepSilent();
      for (const words of Array.from(log.querySelectorAll('.text'))) {
        const text = words.textContent ?? '';
        if (mayHaveLinks(text)) words.replaceChildren(...host.textNodes(text));
      }
    },
    /** Whether there isn't enough to fill the view. */
    isShort: () => scroller.scrollHeight <= scroller.clientHeight + NEAR_TOP_PX,
    show(rows: readonly Row[], occasion: Occasion) {
      const isStuck = isAtBottom && occasion !== 'older';
      const anchor = isStuck ? undefined : firstVisible();
      const top = anchor?.getBoundingClientRect().top ?? 0;
      if (occasion !== 'news') keepSilent();
      if (occasion === 'opened') {
        elements.clear();
        log.textContent = '';
      }
      place(rows);
      const t = host.words();
      if (occasion === 'opened') {
        const divider = elements.get('unread');
        toBottom();
        if (divider) {
          divider.scrollIntoView({ block: 'center' });
          isAtBottom = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BOTTOM_PX;
        }
      } else if (isStuck) toBottom();
      else if (anchor?.isConnected) scroller.scrollTop += anchor.getBoundingClientRect().top - top;
      if (occasion === 'news' && !isAtBottom) latest.classList.add('news');
      latest.textContent = t(latest.classList.contains('news') ? 'newMessages' : 'toLatest');
      latest.hidden = isAtBottom;
    },
  };
}
