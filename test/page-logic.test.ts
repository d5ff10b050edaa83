import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { initialsOf } from '../src/browser/page/elements.ts';
import { makeFinder, piecesOf } from '../src/browser/page/links.ts';
import { mayHaveLinks } from '../src/browser/page/load-links.ts';
import { mend } from '../src/browser/page/mend.ts';
import { roomNameFrom } from '../src/browser/page/new-room.ts';
import { openReadMarks } from '../src/browser/page/read-marks.ts';
import { roomOfPath, toFollow } from '../src/browser/page/rooms.ts';
import { badgeOf, matching } from '../src/browser/page/rooms-view.ts';
import { openRoster } from '../src/browser/page/roster.ts';
import { openMemory, readJson } from '../src/browser/page/storage.ts';
import { ar } from '../src/browser/page/strings/ar.ts';
import { de } from '../src/browser/page/strings/de.ts';
import { en } from '../src/browser/page/strings/en.ts';
import { LANGUAGES, languageFor, wordsIn } from '../src/browser/page/strings.ts';
import {
  emptyTimeline,
  type Loaded,
  merge,
  type Row,
  rowsOf,
  type Timeline,
  takePage,
  trim,
} from '../src/browser/page/timeline.ts';
import type { MessageEntry, PresenceEntry } from '../src/chat/entries.ts';

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 4, 1, 12);

/** Message number `n`, by one of two people, a minute after the one before. */
function message(n: number, by = 'ada', at = NOON + n * 60_000): MessageEntry {
  return {
    kind: 'message',
    room: 'lobby',
    id: `${n * 10}-0`,
    prev: `${(n - 1) * 10}-0`,
    n,
    at,
    user: { id: by, name: by, guest: true },
    text: `message ${n}`,
  } as unknown as MessageEntry;
}

const run = (from: number, to: number, by = 'ada') =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i, by));

function page(from: number, to: number, more: boolean, floor = '0-0'): Loaded {
  return { events: run(from, to), more, floor };
}

function holding(...events: MessageEntry[]): Timeline {
  const timeline = emptyTimeline();
  merge(timeline, events);
  return timeline;
}

const numbers = ({ messages }: Timeline) => messages.map(({ n }) => n);
const dayOf = (at: number) => new Date(at).toISOString().slice(0, 10);
const shape = (rows: Row[]) => rows.map((row) => (row.kind === 'message' ? row.message.n : row.kind));

describe('the messages held of a room', () => {
  test('are in the order of their ids, each once, however history and feed tell them', () => {
    const timeline = emptyTimeline();
    expect(merge(timeline, [message(10), message(9)]).length).toBe(2);
    expect(merge(timeline, [message(9), message(8), message(11)]).map(({ n }) => n)).toEqual([8, 11]);
    takePage(timeline, page(1, 8, false));
    expect(numbers(timeline)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(timeline.hasMore).toBe(false);
  });

  test('go on having older ones if the newest page is loaded again', () => {
    const timeline = holding(...run(1, 60));
    timeline.hasMore = false;
    takePage(timeline, page(50, 99, true));
    expect(timeline.hasMore).toBe(false);
    expect(timeline.messages.length).toBe(99);
  });

  test('are forgotten from the oldest on, and can then be loaded again', () => {
    const timeline = holding(...run(1, 10));
    timeline.hasMore = false;
    trim(timeline, 4);
    expect(numbers(timeline)).toEqual([7, 8, 9, 10]);
    expect(timeline.hasMore).toBe(true);
  });
});

describe('the lines shown', () => {
  test('group what one person says within five minutes', () => {
    const events = [
      message(1),
      message(2),
      message(3, 'bob'),
      message(4),
      message(5, 'ada', NOON + 20 * 60_000),
    ];
    const rows = rowsOf(holding(...events), undefined, dayOf);
    expect(rows.map((row) => row.kind === 'message' && row.follows)).toEqual([
      false,
      false,
      true,
      false,
      false,
      false,
    ]);
  });

  test('begin each day with its divider, and never group across it', () => {
    const rows = rowsOf(
      holding(message(1, 'ada', NOON), message(2, 'ada', NOON + 24 * HOUR)),
      undefined,
      dayOf,
    );
    expect(shape(rows)).toEqual(['day', 1, 'day', 2]);
    expect(rows[3]).toMatchObject({ follows: false });
  });

  test('have one divider before the first message that wasn’t read', () => {
    const timeline = holding(...run(1, 5));
    expect(shape(rowsOf(timeline, 3, dayOf))).toEqual(['day', 1, 2, 3, 'unread', 4, 5]);
    expect(shape(rowsOf(timeline, 5, dayOf))).toEqual(['day', 1, 2, 3, 4, 5]);
    expect(shape(rowsOf(timeline, undefined, dayOf))).not.toContain('unread');
  });

  test('keep their keys when older ones come, so that nothing shown is drawn anew', () => {
    const timeline = holding(...run(5, 8));
    const before = rowsOf(timeline, 6, dayOf).map(({ key }) => key);
    takePage(timeline, page(1, 4, false));
    const after = rowsOf(timeline, 6, dayOf).map(({ key }) => key);
    expect(after.filter((key) => before.includes(key))).toEqual(before);
  });
});

describe('a gap', () => {
  test('is marked where messages may be missing, and what is still held stays', async () => {
    const timeline = holding(...run(1, 5));
    await mend(timeline, 'trimmed', async () => page(20, 25, false, '190-0'));
    expect(shape(rowsOf(timeline, undefined, dayOf))).toEqual([
      'day',
      1,
      2,
      3,
      4,
      5,
      'gap',
      20,
      21,
      22,
      23,
      24,
      25,
    ]);
  });

  test('at the newest message is marked although nothing has followed yet', async () => {
    const timeline = holding(...run(1, 2));
    await mend(timeline, 'trimmed', async () => ({ events: [], more: false, floor: '90-0' }));
    expect(shape(rowsOf(timeline, undefined, dayOf))).toEqual(['day', 1, 2, 'gap']);
  });

  test('is loaded back to where it ends, page by page', async () => {
    const timeline = holding(...run(1, 5));
    const asked: (string | undefined)[] = [];
    await mend(timeline, 'trimmed', async (before) => {
      asked.push(before);
      return before === undefined ? page(60, 109, true) : page(20, 59, false, '190-0');
    });
    expect(asked).toEqual([undefined, '600-0']);
    expect(numbers(timeline)).toEqual([1, 2, 3, 4, 5, ...Array.from({ length: 90 }, (_, i) => i + 20)]);
  });

  test('too wide to be loaded at once leaves no unmarked hole: what lies before it is loaded by scrolling', async () => {
    const timeline = holding(...run(1, 5));
    let from = 1000;
    await mend(timeline, 'trimmed', async () => {
      from -= 10;
      return page(from, from + 9, true);
    });
    expect(numbers(timeline)[0]).toBe(from);
    expect(timeline.hasMore).toBe(true);
    expect(shape(rowsOf(timeline, undefined, dayOf))[0]).toBe('gap');
  });

  test('after a rollback leaves only what the service still has, and is marked after it', async () => {
    const timeline = holding(...run(1, 9));
    await mend(timeline, 'rollback', async () => page(1, 4, false));
    expect(shape(rowsOf(timeline, undefined, dayOf))).toEqual(['day', 1, 2, 3, 4, 'gap']);
    merge(timeline, [message(12)]);
    expect(shape(rowsOf(timeline, undefined, dayOf))).toEqual(['day', 1, 2, 3, 4, 'gap', 12]);
  });

  test('loses nothing that is told while the room is loaded again', async () => {
    const timeline = holding(...run(1, 5));
    await mend(timeline, 'rollback', async () => {
      merge(timeline, [message(31)]);
      return page(1, 3, false);
    });
    expect(numbers(timeline)).toEqual([1, 2, 3, 31]);
  });
});

/** A browser's storage, as far as is needed; `denied` throws as browsers do that keep nothing. */
function storage(denied = false): Storage {
  const kept = new Map<string, string>();
  if (denied) {
    throw new Error('denied');
  }
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  } as unknown as Storage;
}

describe('what has been read', () => {
  test('counts everything as read at the first sight, and only what came since afterwards', () => {
    const kept = storage();
    const marks = openReadMarks(
      openMemory(() => kept),
      'ada',
    );
    marks.meet([{ room: 'lobby', n: 40 }]);
    expect(marks.unread('lobby', 40)).toBe(0);
    expect(marks.unread('lobby', 43)).toBe(3);
    const later = openReadMarks(
      openMemory(() => kept),
      'ada',
    );
    later.meet([
      { room: 'lobby', n: 45 },
      { room: 'new', n: 2 },
    ]);
    expect(later.unread('lobby', 45)).toBe(5);
    expect(later.unread('new', 2)).toBe(2);
  });

  test('never goes back, but for a log that did', () => {
    const kept = storage();
    const marks = openReadMarks(
      openMemory(() => kept),
      'ada',
    );
    marks.read('lobby', 9);
    marks.read('lobby', 4);
    expect(marks.of('lobby')).toBe(9);
    marks.rewind('lobby', 3);
    expect(marks.unread('lobby', 4)).toBe(1);
  });

  test('in one tab is read in the other, and is each user’s own', () => {
    const kept = storage();
    const open = (user: string) =>
      openReadMarks(
        openMemory(() => kept),
        user,
      );
    const [one, other, bob] = [open('ada'), open('ada'), open('bob')];
    one.read('lobby', 7);
    other.read('garden', 2);
    other.refresh();
    expect([other.of('lobby'), other.of('garden'), bob.of('lobby')]).toEqual([7, 2, 0]);
    one.refresh();
    expect(one.of('garden')).toBe(2);
  });

  test('survives rooms called like parts of every object', () => {
    const marks = openReadMarks(openMemory(storage), 'ada');
    expect(marks.unread('constructor', 2)).toBe(2);
  });
});

test('a page whose storage is denied remembers for as long as it lives', () => {
  const memory = openMemory(() => storage(true));
  memory.set('theme', 'dark');
  expect(memory.get('theme')).toBe('dark');
  memory.remove('theme');
  expect(memory.get('theme')).toBeUndefined();
  expect(memory.isDenied()).toBe(true);
  expect(openMemory(storage).isDenied()).toBe(false);
});

test('spoiled storage is as good as none', () => {
  const memory = openMemory(storage);
  memory.set('drafts:ada', '{"lobby":');
  expect(readJson(memory, 'drafts:ada')).toBeUndefined();
  memory.set('drafts:ada', '7');
  expect(readJson(memory, 'drafts:ada')).toBeUndefined();
});

describe('who is here', () => {
  const user = (id: string) => ({ id, name: id, guest: true });
  const came = (id: string, who: string, here = true) =>
    ({ kind: 'presence', room: 'lobby', id, at: 0, user: user(who), here }) as unknown as PresenceEntry;

  test('is the answer, with what was told after it on top, whichever comes first', () => {
    const roster = openRoster();
    roster.apply(came('50-0', 'old', true));
    roster.apply(came('70-0', 'cleo'));
    roster.load({ people: [user('ada'), user('bob')], count: 2, cursor: 'E.60-0' });
    roster.apply(came('80-0', 'bob', false));
    expect(roster.list().map(({ id }) => id)).toEqual(['ada', 'cleo']);
    expect(roster.count()).toBe(2);
  });

  test('counts those too who aren’t listed', () => {
    const roster = openRoster();
    roster.load({ people: [user('ada')], count: 250, cursor: 'E.60-0' });
    expect([roster.list().length, roster.count()]).toEqual([1, 250]);
  });

  test('is asked anew after a while away, and what was told before the answer no longer counts', () => {
    const roster = openRoster();
    roster.load({ people: [user('ada')], count: 1, cursor: 'E.60-0' });
    roster.apply(came('70-0', 'bob'));
    roster.load({ people: [user('ada')], count: 1, cursor: 'E.90-0' });
    expect(roster.list().map(({ id }) => id)).toEqual(['ada']);
  });
});

describe('links', () => {
  const finder = makeFinder();
  const links = (text: string) =>
    piecesOf(text, finder)
      .filter(({ href }) => href)
      .map(({ href }) => href);

  test('are http, https and mailto, and nothing else', () => {
    expect(
      links(
        'see https://example.org/a?b=c#d, http://localhost:8080/x, ada@example.org and www.example.org/path.',
      ),
    ).toEqual([
      'https://example.org/a?b=c#d',
      'http://localhost:8080/x',
      'mailto:ada@example.org',
      'http://www.example.org/path',
    ]);
    for (const text of [
      'javascript:alert(1)',
      'JaVaScRiPt://example.org/%0aalert(1)',
      'data:text/html,<script>alert(1)</script>',
      'vbscript:msgbox(1)',
      'file:///etc/passwd',
      'ftp://example.org/x',
      'blob:https://example.org/1',
    ]) {
      expect(links(text).filter((href) => !/^(https?|mailto):/.test(String(href)))).toEqual([]);
    }
  });

  test('are looked for only in texts that may have some', () => {
    for (const text of [
      'see https://x.org',
      'HTTP://localhost',
      'ada@example.org',
      'example.org',
      'пример.рф',
    ])
      expect([text, piecesOf(text, finder).filter(({ href }) => href).length, mayHaveLinks(text)]).toEqual([
        text,
        1,
        true,
      ]);
    for (const text of ['hello', 'Well. Fine… 3.5 % :/', 'one.\ntwo.', '10.30'])
      expect([text, piecesOf(text, finder).filter(({ href }) => href).length, mayHaveLinks(text)]).toEqual([
        text,
        0,
        false,
      ]);
  });

  test('and the text between them are all of the text', () => {
    const text = 'a https://example.org/ b <c> ada@example.org!';
    expect(
      piecesOf(text, finder)
        .map((piece) => piece.text)
        .join(''),
    ).toBe(text);
  });
});

describe('the strings', () => {
  test('are the same in all languages, with the same values put in', () => {
    const values = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
    const english: Record<string, string> = en;
    expect(Object.keys(LANGUAGES)).toEqual(['en', 'de', 'ar']);
    // What stands in the HTML says it in English there.
    const html = ['index', 'embed']
      .map((name) => readFileSync(new URL(`../public/${name}.html`, import.meta.url), 'utf8'))
      .join('');
    const named = Array.from(
      html.matchAll(/ data-(?:t|label|t-label|t-hint)="(\w+)"/g),
      ([, key]) => key as string,
    );
    const keys = [...new Set([...Object.keys(english), ...named])].sort();
    for (const strings of [de, ar]) {
      expect(Object.keys(strings).sort()).toEqual(keys);
      for (const [key, text] of Object.entries(strings)) {
        expect(values(text)).toEqual(values(english[key] ?? ''));
        expect(text).not.toBe('');
      }
    }
  });

  test('are in the first language wanted that there is', () => {
    expect(languageFor(['fr-CA', 'de-AT', 'en'])).toBe('de');
    expect(languageFor([undefined, 'AR'])).toBe('ar');
    expect(languageFor(['constructor', 'xx'])).toBe('en');
  });

  test('write numbers and days as the language does', () => {
    expect(wordsIn('en')('unread', { n: 1200 })).toBe('1,200 unread');
    expect(wordsIn('de', de)('unread', { n: 1200 })).toBe('1.200 ungelesen');
    expect(wordsIn('en').day(Date.now())).toBe('Today');
    expect(wordsIn('de', de).day(Date.now() - 24 * HOUR)).toBe('Gestern');
    expect(wordsIn('ar').dir).toBe('rtl');
  });

  test('are English where a language lacks them', () => {
    const odd = JSON.parse('{"retry": "Noch einmal", "join": 3}');
    const t = wordsIn('de', odd);
    expect([t('retry'), t('join'), t('leave')]).toEqual(['Noch einmal', 'Join', 'Leave']);
  });

  test('take values as they are, whatever they contain', () => {
    expect(wordsIn('en')('noRoom', { room: '$& {n} <b>' })).toBe(
      'There is no room “$& {n} <b>”, or it isn’t open to you.',
    );
  });
});

describe('rooms', () => {
  const view = (room: string, isMember = false) => ({ room, title: room, n: 0, members: 0, isMember });

  test('are named by the path', () => {
    expect(roomOfPath('/')).toBe('lobby');
    expect(roomOfPath('/chat/rooms/night-shift')).toBe('night-shift');
    expect(roomOfPath('/rooms/%E0%A4%A')).toBe('%E0%A4%A');
  });

  test('that are followed are the open one, the lobby and those joined', () => {
    expect(toFollow([view('a', true), view('b'), view('lobby'), view('c')], 'c')).toEqual([
      'c',
      'a',
      'lobby',
    ]);
    expect(
      toFollow(
        Array.from({ length: 90 }, (_, i) => view(`r${i}`, true)),
        'r89',
      )[0],
    ).toBe('r89');
  });

  test('are found by title or name, and badged with two digits', () => {
    expect(matching([view('deploys'), view('garden')], ' GARD ').map(({ room }) => room)).toEqual(['garden']);
    expect([badgeOf(7), badgeOf(99), badgeOf(100)]).toEqual(['7', '99', '99+']);
  });

  test('get an address from their title', () => {
    expect(roomNameFrom('Über Musik & Tanz!')).toBe('uber-musik-tanz');
    expect(roomNameFrom('  Night shift ')).toBe('night-shift');
    expect(roomNameFrom('غرفة')).toBe('');
  });
});

test('initials are letters as people see them', () => {
  expect(['Ada Lovelace', 'grace', 'سلمى', '👩 Zoë', '—'].map(initialsOf)).toEqual([
    'AL',
    'G',
    'س',
    '👩Z',
    '—',
  ]);
});
