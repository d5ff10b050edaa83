import { type Memory, readJson } from './storage.ts';

/** How far this browser's user has read in each room, by the messages' numbers; kept across reloads and tabs. */
export interface ReadMarks {
  /** The number of the last message read. */
  of(room: string): number;
  /** Rooms as the service lists them. At the very first sight of them all counts as read: nobody catches up on years. */
  meet(rooms: readonly { readonly room: string; readonly n: number }[]): void;
  /** Everything up to number `n` has been seen. Never goes back. */
  read(room: string, n: number): void;
  /** The log itself went back to `n`: what was read beyond it is no more. */
  rewind(room: string, n: number): void;
  /** How many of `n` messages haven't been read. */
  unread(room: string, n: number): number;
  /** Reads again what another tab may have noted. */
  refresh(): void;
}

/** The key under which the marks of a user are kept. */
export const marksKey = (userId: string) => `read:${userId}`;

/** Opens the marks of a user. */
export function openReadMarks(memory: Memory, userId: string): ReadMarks {
  const key = marksKey(userId);
  let marks: Record<string, number> = {};
  let isNew = true;
  const refresh = () => {
    const kept = readJson<Record<string, number>>(memory, key);
    if (!kept) return;
    isNew = false;
    for (const room of Object.keys(kept)) {
      const n = kept[room];
      if (typeof n === 'number' && n > of(room)) marks[room] = n;
    }
  };
  const of = (room: string) => (Object.hasOwn(marks, room) ? (marks[room] ?? 0) : 0);
  const keep = () => memory.set(key, JSON.stringify(marks));
  refresh();
  return {
    of,
    refresh,
    meet(rooms) {
      if (!isNew) return;
      isNew = false;
      marks = {};
      for (const { room, n } of rooms) marks[room] = n;
      keep();
    },
    read(room, n) {
      if (n <= of(room)) return;
      refresh();
      marks[room] = Math.max(n, of(room));
      keep();
    },
    rewind(room, n) {
      if (n >= of(room)) return;
      marks[room] = n;
      keep();
    },
    unread: (room, n) => Math.max(0, n - of(room)),
  };
}
