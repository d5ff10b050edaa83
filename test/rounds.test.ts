import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type StreamId, ZERO_ID } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import type { Delivery } from '../src/delivery/delivery.ts';
import type { Ending, Permission, Reader } from '../src/delivery/reader.ts';
import type { Encoding, Run } from '../src/delivery/run.ts';
import type { JournalEntry } from '../src/log/journal.ts';
import type { Page } from '../src/log/read.ts';
import { newDelivery } from './support/delivery.ts';
import { waitFor } from './support/wait-for.ts';

/** As many as are told in two turns where it is calm. */
const CROWD = 900;

interface Listener {
  readonly reader: Reader;
  /** Ids, in the order in which they were told. */
  readonly told: string[];
  readonly sink: { fills: boolean; isFull: boolean; readonly last: Buffer | undefined };
}

const inEvents: Encoding = (frames) => Buffer.concat(frames.map(({ sse }) => sse));

/** Whether those who listen may be told past their sinks, where nothing else is said. */
let isWired = false;

/** No time passes by itself, so that what is said waits for its turn. */
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function pass(ms: number): void {
  vi.advanceTimersByTime(ms);
}

const id = (text: string) => text as StreamId;

function said(at: string, room: string, before: string): JournalEntry {
  const data = '{"text":"x"}';
  return {
    id: id(at),
    kind: 'message',
    prev: ZERO_ID,
    n: 1,
    data,
    to: `room:main/${room}`,
    before: id(before),
  };
}

const PRESENCE = JSON.stringify({ user: { id: 'bob', name: 'Bob', guest: true }, here: false });

const FACTS = { epoch: 'e', last: id('99-0'), base: ZERO_ID, isHeld: true, nextBefore: undefined };

/** What the log of room a holds, as it says itself. */
function pageOf(epoch: string, entries: readonly JournalEntry[] = []): Page {
  return {
    facts: { ...FACTS, epoch },
    rooms: [{ room: 'main/a' as RoomKey, floor: ZERO_ID, oldest: undefined, entries, isCut: false }],
  };
}

interface Ears {
  /** The cursor to go on from. */
  readonly after?: string;
  readonly session?: string;
  readonly isWired?: boolean;
  readonly encoding?: Encoding;
  /** Whether the first bytes fill it. */
  readonly fills?: boolean;
  readonly isAllowed?: () => Promise<Permission>;
  readonly onEnd?: (ending: Ending | undefined, cursor: string) => void;
}

async function listen(
  delivery: Delivery,
  rooms: string | readonly string[],
  {
    after,
    session,
    isWired: canBePassed = isWired,
    encoding = inEvents,
    fills = false,
    isAllowed = async () => true,
    onEnd = () => {},
  }: Ears = {},
): Promise<Listener> {
  const told: string[] = [];
  const sink = {
    carrier: 'sse' as const,
    maxBytes: 1e6,
    isFull: false,
    /** Whether the next bytes fill it. */
    fills,
    tell: (run: Run) => {
      if (!sink.write(run.as(inEvents))) sink.filled();
    },
    wire: canBePassed
      ? {
          out: { write: (bytes: Buffer) => sink.write(bytes) },
          encoding,
          filled: () => sink.filled(),
        }
      : undefined,
    last: undefined as Buffer | undefined,
    write: (bytes: Buffer): boolean => {
      sink.last = bytes;
      told.push(...[...String(bytes).matchAll(/^id: e\.(\S+)/gm)].map(([, at]) => at as string));
      return !sink.fills;
    },
    filled: () => {
      sink.isFull = true;
      reader.slowed();
    },
    level: () => {},
    end: (ending: Ending | undefined) => onEnd(ending, reader.cursor),
  };
  const reader = delivery.enter({
    rooms: [rooms].flat().map((room) => `main/${room}` as RoomKey),
    addresses: session === undefined ? [] : [`session:${session}`],
    sink,
    isAllowed,
  });
  await reader.begin(after, () => {});
  return { reader, told, sink };
}

async function crowdOf(delivery: Delivery, room: string): Promise<[first: Listener, last: Listener]> {
  const all: Listener[] = [];
  for (let i = 0; i < CROWD; i++) all.push(await listen(delivery, room));
  return [all[0] as Listener, all.at(-1) as Listener];
}

describe.each([
  ['by themselves', false],
  ['by their audience', true],
] as const)('readers told %s', (_, byAudience) => {
  beforeEach(() => {
    isWired = byAudience;
  });

  test('no cursor counts as told what is still to be told, to whom in the room or beside it', async () => {
    const delivery = newDelivery();
    const [first, last] = await crowdOf(delivery, 'a');
    const other = await listen(delivery, 'b');
    const cursors = () => [first, last, other].map(({ reader }) => reader.cursor);

    delivery.heard([said('2-0', 'a', '1-0')]);
    expect(cursors()).toEqual(['e.1-0', 'e.1-0', 'e.1-0']);
    await nextTurn();
    expect(cursors()).toEqual(['e.2-0', 'e.1-0', 'e.1-0']);
    delivery.heard([said('3-0', 'b', '2-0')]);
    expect(cursors()).toEqual(['e.2-0', 'e.1-0', 'e.1-0']);
    await nextTurn();
    expect(cursors()).toEqual(['e.2-0', 'e.3-0', 'e.2-0']);
    await nextTurn();
    expect(cursors()).toEqual(['e.3-0', 'e.3-0', 'e.3-0']);
    expect([first.told, last.told, other.told]).toEqual([['2-0'], ['2-0'], ['3-0']]);
  });

  test('what is said while a round is under way is told once: with it to who waits, after it to who was told', async () => {
    const delivery = newDelivery();
    const [first, last] = await crowdOf(delivery, 'a');
    const both = await listen(delivery, ['a', 'b']);
    delivery.heard([said('2-0', 'a', '1-0')]);
    await nextTurn();
    delivery.heard([said('3-0', 'a', '2-0'), said('4-0', 'b', '3-0')]);
    await nextTurn();
    expect([first.told, last.told, both.told]).toEqual([['2-0'], ['2-0', '3-0'], ['2-0', '3-0', '4-0']]);
    await nextTurn();
    await nextTurn();
    expect([first.told, last.told, both.told]).toEqual([
      ['2-0', '3-0'],
      ['2-0', '3-0'],
      ['2-0', '3-0', '4-0'],
    ]);
  });

  test('a window filled anew in the middle of a round costs nobody what the round was to tell', async () => {
    const delivery = newDelivery();
    const [first, last] = await crowdOf(delivery, 'a');
    const news = [said('2-0', 'a', '1-0'), said('3-0', 'a', '2-0')];
    delivery.heard(news.slice(0, 1));
    await nextTurn();
    delivery.refilled({ epoch: 'e', start: id('1-0'), last: id('3-0'), entries: news }, 'outrun');
    await nextTurn();
    delivery.heard([said('4-0', 'a', '3-0')]);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect([first.told, last.told]).toEqual([
      ['2-0', '3-0', '4-0'],
      ['2-0', '3-0', '4-0'],
    ]);
  });

  test('whoever comes while a round is under way is told what is said after that, once', async () => {
    const delivery = newDelivery();
    await crowdOf(delivery, 'a');
    delivery.heard([said('2-0', 'a', '1-0')]);
    const late = await listen(delivery, 'a');
    delivery.heard([said('3-0', 'a', '2-0')]);
    for (let turn = 0; turn < 4; turn++) await nextTurn();
    expect(late.told).toEqual(['3-0']);
    expect(late.reader.cursor).toBe('e.3-0');
  });

  test('news that was told with the round before it is no round of its own, and nor is news that nobody is left to hear', async () => {
    const delivery = newDelivery();
    const turns: number[] = [];
    delivery.toldTurn = (latencyMs) => turns.push(latencyMs);
    const { reader, told } = await listen(delivery, 'a');
    const other = await listen(delivery, 'b');
    delivery.heard([said('2-0', 'a', '1-0')]);
    delivery.heard([said('3-0', 'a', '2-0')]);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect([told, turns.length]).toEqual([['2-0', '3-0'], 1]);
    delivery.heard([said('4-0', 'a', '3-0')]);
    reader.end();
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect([other.reader.cursor, turns.length]).toEqual(['e.4-0', 1]);
  });

  test('a session whose end is found in a window filled anew leaves a cursor before what wasn’t told', async () => {
    for (const [reason, epoch] of [
      ['outrun', 'e'],
      ['rollback', 'f'],
    ] as const) {
      const delivery = newDelivery();
      let left: unknown;
      const { told } = await listen(delivery, 'a', {
        session: 's',
        onEnd: (ending, cursor) => {
          left = [ending?.code, cursor];
        },
      });
      const over: JournalEntry = { ...said('3-0', 'a', '2-0'), kind: 'session-end', to: 'session:s' };
      const entries = [said('2-0', 'a', '1-0'), over];
      delivery.refilled({ epoch, start: id('1-0'), last: id('3-0'), entries }, reason);
      expect([left, told]).toEqual([['session_ended', 'e.1-0'], []]);
    }
  });

  test('a question about rights isn’t forgotten because the window is filled anew', async () => {
    const delivery = newDelivery();
    let ended: Ending | undefined;
    let answer: (isAllowed: boolean) => void = () => {};
    const { reader } = await listen(delivery, 'a', {
      session: 's',
      isAllowed: () => new Promise((resolve) => (answer = resolve)),
      onEnd: (ending) => {
        ended = ending;
      },
    });
    reader.authoriseAgain();
    delivery.refilled({ epoch: 'e', start: id('1-0'), last: id('1-0'), entries: [] }, 'start');
    answer(false);
    await nextTurn();
    expect(ended).toEqual({ code: 'session_ended' });
  });

  test('more are told at once where it is calm than where news comes faster than it is told', async () => {
    const delivery = newDelivery();
    const [, last] = await crowdOf(delivery, 'a');
    const turnsUntil = async (isTold: () => boolean): Promise<number> => {
      for (let turns = 0; ; turns++) {
        if (isTold()) return turns;
        await nextTurn();
      }
    };
    delivery.heard([said('2-0', 'a', '1-0')]);
    expect(await turnsUntil(() => last.told.includes('2-0'))).toBe(2);
    delivery.heard([said('3-0', 'a', '2-0')]);
    await nextTurn();
    delivery.heard([said('4-0', 'a', '3-0')]);
    const turns = await turnsUntil(() => delivery.level.id === '4-0');
    expect(turns).toBeGreaterThan(4);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    delivery.heard([said('5-0', 'a', '4-0')]);
    expect(await turnsUntil(() => last.told.includes('5-0'))).toBe(2);
  });

  test('rights that may have changed unheard are asked for again, unless all that was known has gone', async () => {
    for (const [epoch, reason, isEnded] of [
      ['e', 'outrun', true],
      ['e', 'rollback', true],
      ['f', 'rollback', false],
    ] as const) {
      const delivery = newDelivery({ page: async () => pageOf('f') });
      let ended: Ending | undefined;
      await listen(delivery, 'a', { isAllowed: async () => false, onEnd: (ending) => (ended = ending) });
      delivery.refilled({ epoch, start: id('1-0'), last: id('1-0'), entries: [] }, reason);
      await nextTurn();
      expect([epoch, reason, ended?.code]).toEqual([epoch, reason, isEnded ? 'session_ended' : undefined]);
    }
  });

  test('whoever catches up from the log is told what only the window has, and is still fresh', async () => {
    const texts = ['2-0', '3-0', '4-0', '5-0', '6-0'].map((at, i) => said(at, 'a', `${i + 1}-0`));
    const left: JournalEntry = { ...said('7-0', 'a', '6-0'), kind: 'presence', data: PRESENCE };
    const entries = [...texts.slice(-2), left];
    const asked: string[] = [];
    const delivery = newDelivery({
      facts: async () => FACTS,
      page: async (_rooms, after, end) => {
        asked.push(`(${after}, ${end}]`);
        return pageOf(
          'e',
          texts.filter((entry) => entry.id > after && entry.id <= end),
        );
      },
    });
    delivery.refilled({ epoch: 'e', start: id('4-0'), last: id('7-0'), entries: [] }, 'outrun');
    delivery.heard(entries);
    const { told } = await listen(delivery, 'a', { after: 'e.2-0' });
    await waitFor('all', () => told.length === 5);
    expect(told).toEqual(['3-0', '4-0', '5-0', '6-0', '7-0']);
    expect(asked).toHaveLength(1);
  });

  test('whoever catches up reaches a window that moves on during each read, and is told of a gap once', async () => {
    const reads: string[] = [];
    let n = 10;
    const news = (count: number): JournalEntry[] =>
      Array.from({ length: count }, () => {
        n++;
        return { ...said(`${n}-0`, 'a', `${n - 1}-0`), prev: id(`${n - 1}-0`) };
      });
    const delivery: Delivery = newDelivery(
      {
        facts: async () => FACTS,
        page: async (_rooms, after) => {
          reads.push(after);
          delivery.heard(news(2));
          await nextTurn();
          const page = pageOf('e');
          return { ...page, rooms: page.rooms.map((one) => ({ ...one, floor: id('18-0') })) };
        },
      },
      { windowEntries: 10 },
    );
    delivery.refilled({ epoch: 'e', start: id('10-0'), last: id('10-0'), entries: [] }, 'outrun');
    delivery.heard(news(12));
    const { reader, told } = await listen(delivery, 'a', { after: 'e.3-0' });
    await waitFor('the window', () => reader.isLevel);
    expect(reads).toEqual(['3-0']);
    expect(delivery.counts.gaps.trimmed).toBe(1);
    expect(told).toEqual(['14-0', ...Array.from({ length: 10 }, (_, i) => `${i + 15}-0`)]);
  });

  test('the log isn’t read for those who have left meanwhile, and who comes waits for nobody', async () => {
    const reads: string[] = [];
    let goOn: () => void = () => {};
    const first = new Promise<void>((resolve) => (goOn = resolve));
    const delivery = newDelivery(
      {
        facts: async () => FACTS,
        page: async (_rooms, after) => {
          reads.push(after);
          await first;
          return pageOf('e');
        },
      },
      { concurrentReads: 1 },
    );
    delivery.refilled({ epoch: 'e', start: id('8-0'), last: id('9-0'), entries: [] }, 'outrun');
    const all: Listener[] = [];
    for (const at of ['2-0', '3-0', '4-0']) all.push(await listen(delivery, 'a', { after: `e.${at}` }));
    all[1]?.reader.end();
    goOn();
    await waitFor('the last', () => all[2]?.reader.isLevel);
    expect(reads).toEqual(['2-0', '4-0']);
  });

  test('the log isn’t read for those who have left meanwhile, though it was to say what it no longer has', async () => {
    let reads = 0;
    let goOn: () => void = () => {};
    const first = new Promise<void>((resolve) => (goOn = resolve));
    const page = async () => {
      reads++;
      await first;
      return pageOf('e');
    };
    const delivery = newDelivery({ page }, { concurrentReads: 1 });
    const places = ['a', 'b', 'c'].map((nonsense) => listen(delivery, 'a', { after: nonsense }));
    await waitFor('the first', () => reads === 1);
    expect(delivery.hub.size).toBe(3);
    [...delivery.hub.everyone()][1]?.end();
    goOn();
    await Promise.all(places);
    expect([reads, delivery.counts.gaps['unknown-cursor']]).toEqual([2, 2]);
  });

  test('who takes nothing falls behind, and is told the rest by the time it takes some again', async () => {
    const delivery = newDelivery();
    const [slow, other] = [await listen(delivery, 'a'), await listen(delivery, 'a')];
    const say = async (n: number) => {
      delivery.heard([said(`${n}-0`, 'a', `${n - 1}-0`)]);
      for (let turn = 0; turn < 2; turn++) await nextTurn();
    };
    await say(2);
    slow.sink.fills = true;
    await say(3);
    await say(4);
    await say(5);
    expect([slow.told, slow.reader.cursor]).toEqual([['2-0', '3-0'], 'e.3-0']);
    expect([delivery.counts.slow, slow.reader.isSlow]).toEqual([1, true]);
    slow.sink.fills = false;
    slow.sink.isFull = false;
    slow.reader.advance();
    await say(6);
    await say(7);
    for (const { told, reader } of [slow, other]) {
      expect(told).toEqual(['2-0', '3-0', '4-0', '5-0', '6-0', '7-0']);
      expect(reader.cursor).toBe('e.7-0');
    }
    expect(delivery.counts.events).toBe(12);
  });

  test('who was full when it came is told nothing more until that has gone out', async () => {
    const delivery = newDelivery({ facts: async () => FACTS });
    delivery.heard([said('2-0', 'a', '1-0')]);
    const { reader, told, sink } = await listen(delivery, 'a', { after: 'e.1-0', fills: true });
    for (const n of [3, 4]) {
      delivery.heard([said(`${n}-0`, 'a', `${n - 1}-0`)]);
      await nextTurn();
      expect([told, reader.cursor]).toEqual([['2-0'], 'e.2-0']);
    }
    sink.fills = false;
    sink.isFull = false;
    reader.advance();
    expect([told, reader.cursor]).toEqual([['2-0', '3-0', '4-0'], 'e.4-0']);
  });

  test('who comes from ahead of this process is told nothing that it has, and all that follows', async () => {
    const delivery = newDelivery({ facts: async () => FACTS });
    const { reader, told } = await listen(delivery, 'a', { after: 'e.4-0' });
    for (const n of [2, 3, 4, 5, 6]) {
      delivery.heard([said(`${n}-0`, 'a', `${n - 1}-0`)]);
      await nextTurn();
      expect(reader.cursor).toBe(n < 5 ? 'e.4-0' : `e.${n}-0`);
    }
    expect(told).toEqual(['5-0', '6-0']);
  });

  test('who was told nothing while the window moved on is no reason to read a log', async () => {
    const delivery = newDelivery({}, { windowEntries: 3 });
    const { told } = await listen(delivery, 'a');
    const news = Array.from({ length: 8 }, (_, i) => said(`${i + 2}-0`, i < 7 ? 'b' : 'a', `${i + 1}-0`));
    for (const entry of news) delivery.heard([entry]);
    await nextTurn();
    expect([told, delivery.counts.logPages]).toEqual([['9-0'], 0]);
  });

  test('those who came at different times are told by the same bytes', async () => {
    const delivery = newDelivery();
    const first = await listen(delivery, 'a');
    delivery.heard([said('2-0', 'b', '1-0')]);
    const second = await listen(delivery, 'a');
    delivery.heard([said('3-0', 'b', '2-0')]);
    await nextTurn();
    delivery.heard([said('4-0', 'a', '3-0')]);
    await nextTurn();
    expect(first.told).toEqual(['4-0']);
    expect(second.sink.last).toBe(first.sink.last);
  });

  test('a reader whom writing fails is ended, and costs the others nothing', async () => {
    const failures: unknown[] = [];
    const delivery = newDelivery({}, {}, (error) => failures.push(error));
    const [bad, other] = [await listen(delivery, 'a'), await listen(delivery, 'a')];
    Object.defineProperty(bad.sink, 'fills', {
      get: () => {
        throw new Error('no');
      },
    });
    delivery.heard([said('2-0', 'a', '1-0')]);
    await nextTurn();
    expect([failures.length, bad.reader.ended, other.told]).toEqual([1, { by: undefined }, ['2-0']]);
  });

  test('news that is more than is told at once, or has left the window, is told by its reader', async () => {
    const kept = Array.from({ length: 40 }, (_, i) => said(`${i + 2}-0`, 'a', `${i + 1}-0`));
    const long = kept.map((entry) => ({ ...entry, data: JSON.stringify({ text: 'x'.repeat(4000) }) }));
    const delivery = newDelivery({ page: async () => pageOf('e', kept) }, { windowEntries: 30 });
    const { reader, told } = await listen(delivery, 'a');
    delivery.heard(long.slice(0, 20));
    await nextTurn();
    expect(told).toEqual(kept.slice(0, 20).map((entry) => entry.id));
    const late = newDelivery({ page: async () => pageOf('e', kept) }, { windowEntries: 30 });
    const other = await listen(late, 'a');
    late.heard(kept);
    await waitFor('all', () => other.told.length === kept.length);
    expect(other.told).toEqual(kept.map((entry) => entry.id));
    expect([reader.cursor, other.reader.cursor]).toEqual(['e.21-0', 'e.41-0']);
  });

  test('when a reader was last told anything is known however it was told', async () => {
    const delivery = newDelivery();
    const { reader, sink } = await listen(delivery, 'a');
    sink.fills = true;
    const before = reader.toldAt;
    pass(20);
    delivery.heard([said('2-0', 'b', '1-0')]);
    await nextTurn();
    expect(reader.toldAt).toBe(before);
    delivery.heard([said('3-0', 'a', '2-0')]);
    await nextTurn();
    expect(reader.toldAt - before).toBeGreaterThanOrEqual(15);
  });
});

test('where it was quiet who sits is told at once, and with whom there is somebody who doesn’t in a turn', async () => {
  const delivery = newDelivery();
  isWired = true;
  const [first, last] = await crowdOf(delivery, 'a');
  const say = (n: number) => delivery.heard([said(`${n}-0`, 'a', `${n - 1}-0`)]);
  pass(50);
  say(2);
  expect([first.told, last.told]).toEqual([['2-0'], []]);
  expect([first.reader.cursor, last.reader.cursor]).toEqual(['e.2-0', 'e.1-0']);
  await nextTurn();
  expect([first.told, last.told]).toEqual([['2-0'], ['2-0']]);
  pass(49);
  say(3);
  expect(first.told).toEqual(['2-0']);
  for (let turn = 0; turn < 2; turn++) await nextTurn();
  expect(last.told).toEqual(['2-0', '3-0']);
  isWired = false;
  const alone = await listen(delivery, 'a');
  pass(50);
  say(4);
  expect(first.told).toEqual(['2-0', '3-0']);
  for (let turn = 0; turn < 2; turn++) await nextTurn();
  expect([first.told, alone.told]).toEqual([['2-0', '3-0', '4-0'], ['4-0']]);
  for (const { reader } of [alone, last]) reader.end();
  pass(50);
  say(5);
  expect(first.told).toEqual(['2-0', '3-0', '4-0', '5-0']);
});

test('a session that ends in the batch that is told at once is left before its news', async () => {
  const delivery = newDelivery();
  isWired = true;
  let left: unknown;
  const { told } = await listen(delivery, 'a', {
    session: 's',
    onEnd: (ending, cursor) => {
      left = [ending?.code, cursor];
    },
  });
  const other = await listen(delivery, 'a');
  pass(50);
  const over: JournalEntry = { ...said('3-0', 'a', '2-0'), kind: 'session-end', to: 'session:s' };
  delivery.heard([said('2-0', 'a', '1-0'), over]);
  expect([left, told, other.told, other.reader.cursor]).toEqual([
    ['session_ended', 'e.1-0'],
    [],
    ['2-0'],
    'e.3-0',
  ]);
});

test('who is ended after its audience told it is left after that', async () => {
  const delivery = newDelivery();
  isWired = true;
  let left: string | undefined;
  const { reader } = await listen(delivery, 'a', { onEnd: (_, cursor) => (left = cursor) });
  await crowdOf(delivery, 'a');
  delivery.heard([said('2-0', 'a', '1-0')]);
  await nextTurn();
  reader.end();
  expect(left).toBe('e.2-0');
});

test('who is ended before it was told stays where it was, whatever the others are told', async () => {
  const delivery = newDelivery();
  const { reader, told } = await listen(delivery, 'a');
  delivery.heard([said('2-0', 'a', '1-0')]);
  reader.end();
  for (let turn = 0; turn < 2; turn++) await nextTurn();
  delivery.refilled({ epoch: 'e', start: id('2-0'), last: id('2-0'), entries: [] }, 'outrun');
  expect([told, reader.cursor]).toEqual([[], 'e.1-0']);
});

test('what was found out for some is told though telling of one that fails fails as well', async () => {
  const delivery = newDelivery({}, {}, () => {
    throw new Error('nobody to tell of it');
  });
  isWired = true;
  const first = await listen(delivery, 'a');
  await listen(delivery, 'a', {
    encoding: () => {
      throw new Error('no');
    },
  });
  pass(50);
  expect(() => delivery.heard([said('2-0', 'a', '1-0')])).toThrow('nobody to tell of it');
  expect(first.told).toEqual(['2-0']);
});

test('one whom reading fails has nobody told what was read for somebody who stands elsewhere', async () => {
  const failures: unknown[] = [];
  const delivery = newDelivery({}, {}, (error) => failures.push(error));
  isWired = true;
  const all: Listener[] = [];
  for (let i = 0; i < CROWD; i++) all.push(await listen(delivery, 'a'));
  // Some are told two with one write, so that they stand further on than the others.
  for (const n of [2, 3]) {
    delivery.heard([said(`${n}-0`, 'a', `${n - 1}-0`)]);
    await nextTurn();
  }
  delivery.heard([said('4-0', 'a', '3-0')]);
  // Of those one stays, and takes the place of the first.
  for (const { reader } of [...all.slice(513), ...all.slice(0, 1)]) reader.end();
  const read = delivery.window.read.bind(delivery.window);
  const reading = vi.spyOn(delivery.window, 'read');
  reading.mockImplementation((...place) => {
    if (reading.mock.calls.length === 2) throw new Error('no');
    return read(...place);
  });
  for (let turn = 0; turn < 6; turn++) await nextTurn();
  expect(failures).toHaveLength(1);
  const living = all.filter(({ reader }) => reader.ended === undefined);
  expect(living).toHaveLength(511);
  for (const { told } of living) expect(told).toEqual(['2-0', '3-0', '4-0']);
});

const comings = fc.record({
  do: fc.constant('come' as const),
  rooms: fc.constantFrom(['a'], ['b'], ['a', 'b']),
  isWired: fc.boolean(),
});
const changes = fc.record({ do: fc.constantFrom('end', 'fill', 'drain'), who: fc.nat() });
const rest = fc.oneof(
  fc.record({ do: fc.constant('say' as const), room: fc.constantFrom('a', 'b', 'nobody’s') }),
  fc.record({ do: fc.constantFrom('turn', 'quiet', 'refill') }),
);

test('whatever happens, each reader is told what is said in its rooms, once and in order, and its cursor tells no more', async () => {
  const steps = fc.array(fc.oneof(comings, changes, { arbitrary: rest, weight: 3 }), { maxLength: 50 });
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const delivery = newDelivery();
      const said_: JournalEntry[] = [];
      const end = () => `${said_.length + 1}-0`;
      const all: (Listener & { rooms: readonly string[]; from: number; to?: number })[] = [];
      const come = async (rooms: readonly string[], wired: boolean) => {
        const from = said_.length;
        all.push({ ...(await listen(delivery, rooms, { isWired: wired })), rooms, from });
      };
      const meantFor = (rooms: readonly string[], from: number, to?: number) =>
        said_
          .slice(from, to)
          .filter((entry) => rooms.includes(entry.to.slice('room:main/'.length)))
          .map((entry) => entry.id);
      for (let i = 0; i < 520; i++) await come(['a'], true);
      const take = ({ sink, reader }: Listener) => {
        sink.fills = false;
        sink.isFull = false;
        reader.advance();
      };
      for (const step of steps) {
        if (step.do === 'come') await come(step.rooms, step.isWired);
        if (step.do === 'say') {
          said_.push(said(`${said_.length + 2}-0`, step.room, end()));
          delivery.heard(said_.slice(-1));
        }
        if (step.do === 'turn') await nextTurn();
        if (step.do === 'quiet') pass(60);
        if (step.do === 'refill')
          delivery.refilled({ epoch: 'e', start: id('1-0'), last: id(end()), entries: said_ }, 'outrun');
        if ('who' in step) {
          const one = all[step.who % all.length] as (typeof all)[number];
          if (step.do === 'fill') one.sink.fills = true;
          if (step.do === 'drain') take(one);
          if (step.do === 'end' && one.to === undefined) {
            one.reader.end();
            one.to = said_.length;
          }
        }
        for (const { rooms, from, reader, told } of all.slice(-40)) {
          const at = Number(reader.cursor.slice('e.'.length, -'-0'.length)) - 1;
          expect(told).toEqual(meantFor(rooms, from, Math.max(at, from)));
        }
      }
      for (const one of all) if (one.to === undefined) take(one);
      for (let turn = 0; turn < 6; turn++) await nextTurn();
      for (const { rooms, from, to, told } of all) {
        const meant = meantFor(rooms, from, to);
        expect(told).toEqual(to === undefined ? meant : meant.slice(0, told.length));
      }
    }),
    { numRuns: 60 },
  );
});
