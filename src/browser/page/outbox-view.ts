import type { Pending } from '../outbox.ts';
import { buttonOf, find, make } from './elements.ts';
import type { Words } from './strings.ts';

/** Shows what this user has written in the room and what hasn't come back by the feed: waiting, sent or failed. */
export function showOutbox(
  items: readonly Pending[],
  t: Words,
  why: (code: string) => string,
  act: { retry(clientId: string): void; discard(clientId: string): void },
): void {
  const list = find('outbox');
  const focused = document.activeElement?.getAttribute('data-act');
  list.replaceChildren(
    ...items.map(({ clientId, text, status, error, isKept }) => {
      const words = make('p', 'text', text);
      words.dir = 'auto';
      const isFailed = status === 'failed';
      const fate = [status === 'gone' ? '' : t(status) + (isFailed && error ? `: ${why(error)}` : '')];
      if (!isKept && (status === 'pending' || status === 'sending' || isFailed)) fate.push(t('notKept'));
      const state = make('p', 'fate', fate.join(' · '));
      const item = make('li', `sending ${status}`, words, state);
      if (isFailed) {
        const button = (key: 'retry' | 'discard') => {
          const made = buttonOf(t(key), 'link', () => act[key](clientId));
          made.setAttribute('data-act', `${key}:${clientId}`);
          return made;
        };
        state.append(' ', button('retry'), ' ', button('discard'));
      }
      return item;
    }),
  );
  // Said once to who only listens: the list itself is drawn anew with every change.
  const said = items
    .filter(({ status }) => status === 'failed')
    .map(({ text }) => `${t('failed')}: ${text}`)
    .join('. ');
  if (find('said').textContent !== said) find('said').textContent = said;
  // Drawn anew, but whoever stood on a button with the keyboard stays there.
  if (focused) list.querySelector<HTMLElement>(`[data-act="${focused}"]`)?.focus();
}
