import { avatarOf, find, make, whoIs } from './elements.ts';
import type { Roster } from './roster.ts';
import type { Words } from './strings.ts';

/** Shows who is here. */
export function showPeople(roster: Roster | undefined, myId: string | undefined, t: Words): void {
  const people = roster ? roster.list() : [];
  const count = roster ? roster.count() : 0;
  find('people-title').textContent = count ? t('peopleCount', { n: count }) : t('people');
  find('people-count').textContent = count ? String(count) : '';
  find('people-list').replaceChildren(
    ...people.map((user) => {
      const item = make('li', '', avatarOf(user), ...whoIs(user, t));
      if (user.id === myId) item.append(make('span', 'quiet', `(${t('you')})`));
      return item;
    }),
  );
  const unlisted = count - people.length;
  find('people-more').textContent = unlisted > 0 ? t('more', { n: unlisted }) : count ? '' : t('nobody');
}
