import type { RoomView } from '../client.ts';
import { find, make, nameOf } from './elements.ts';
import type { Words } from './strings.ts';

/** A room in the list, with how much of it hasn't been read. */
export interface ListedRoom extends RoomView {
  readonly unread: number;
  readonly isOpen: boolean;
}

const FILTER_FROM = 9;
const MOST_LISTED = 200;

/** Counts up to two digits, as badges have room for. */
export const badgeOf = (n: number) => (n > 99 ? '99+' : String(n));

/** The rooms that a search finds, by title or name. */
export function matching<T extends { room: string; title: string }>(
  rooms: readonly T[],
  search: string,
): T[] {
  const wanted = search.trim().toLowerCase();
  return rooms.filter(({ room, title }) => `${title}\n${room}`.toLowerCase().indexOf(wanted) >= 0);
}

/** Shows the rooms: one's own, and all others. */
export function showRooms(rooms: readonly ListedRoom[], t: Words, hrefOf: (room: string) => string): void {
  const filter = find<HTMLInputElement>('filter');
  filter.hidden = rooms.length < FILTER_FROM;
  const found = matching(rooms, filter.hidden ? '' : filter.value).slice(0, MOST_LISTED);
  const lists = find('room-lists');
  const focused = document.activeElement?.getAttribute('data-room');
  const sectionOf = (key: 'yourRooms' | 'otherRooms', isMine: boolean) => {
    const items = found.filter(({ isMember, room }) => (isMember || room === 'lobby') === isMine);
    if (items.length === 0) return [];
    const heading = make('h2', '', t(key));
    heading.id = key;
    const list = make('ul', '', ...items.map(itemOf));
    list.setAttribute('aria-labelledby', key);
    return [heading, list];
  };
  const itemOf = ({ room, title, unread, isOpen }: ListedRoom) => {
    const link = make('a', unread ? 'unread' : '', nameOf(title));
    link.href = hrefOf(room);
    link.setAttribute('data-room', room);
    if (isOpen) link.setAttribute('aria-current', 'page');
    if (unread) {
      const badge = make('span', 'badge', badgeOf(unread));
      badge.setAttribute('aria-hidden', 'true');
      link.append(badge, make('span', 'unseen', ` ${t('unread', { n: unread })}`));
    }
    return make('li', '', link);
  };
  lists.replaceChildren(...sectionOf('yourRooms', true), ...sectionOf('otherRooms', false));
  if (focused) lists.querySelector<HTMLElement>(`[data-room="${focused}"]`)?.focus();
}
