import type { PresenceEntry } from '../../chat/entries.ts';
import type { User } from '../../chat/users.ts';
import { compareIds, idOf } from '../cursors.ts';

/** Who is in a room, from what was asked once and what was told since. */
export interface Roster {
  /** By name. */
  list(): readonly User[];
  /** How many are here; more than are listed in a crowd. */
  count(): number;
  /** The answer of the service; what was told after it still holds. */
  load(answer: { readonly people: readonly User[]; readonly count: number; readonly cursor: string }): void;
  /** Somebody came or left. May come before the answer that it goes on top of. */
  apply(entry: PresenceEntry): void;
}

const KEPT = 200;

/** A roster of nobody. */
export function openRoster(): Roster {
  const people = new Map<string, User>();
  let recent: PresenceEntry[] = [];
  let standing = '0-0';
  let unlisted = 0;
  const put = ({ user, here }: PresenceEntry) => {
    if (here) people.set(user.id, user);
    else people.delete(user.id);
  };
  return {
    list: () => Array.from(people.values()).sort((a, b) => a.name.localeCompare(b.name)),
    count: () => people.size + unlisted,
    load(answer) {
      people.clear();
      for (const user of answer.people) people.set(user.id, user);
      unlisted = Math.max(0, answer.count - people.size);
      standing = idOf(answer.cursor) ?? '0-0';
      recent = recent.filter(({ id }) => compareIds(id, standing) > 0);
      recent.forEach(put);
    },
    apply(entry) {
      if (compareIds(entry.id, standing) <= 0) return;
      recent.push(entry);
      if (recent.length > KEPT) recent.shift();
      put(entry);
    },
  };
}
