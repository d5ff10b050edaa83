import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test, vi } from 'vitest';
import { type StreamId, ZERO_ID } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import type { SiteName } from '../src/chat/sites.ts';
import type { Delivery } from '../src/delivery/delivery.ts';
import { Frame } from '../src/delivery/frame.ts';
import { mergePages } from '../src/delivery/merge.ts';
import type { Sink } from '../src/delivery/reader.ts';
import type { JournalEntry } from '../src/log/journal.ts';
import type { RoomPage } from '../src/log/read.ts';
import { newDelivery, silent } from './support/delivery.ts';
import { waitFor } from './support/wait-for.ts';

/** Ids here count in steps so long that no window which begins at one is taken to reach back to the one before. */
const STEP = '00000-0';
const at = (n: number) => `${n}${STEP}` as StreamId;
const room = (name: string) => `main/${name}` as RoomKey;
const entry = (n: number) => ({ id: at(n), kind: 'message', prev: ZERO_ID, n: 1, data: '{"text":"x"}' });
const pagesOf = (pages: Partial<RoomPage>[]): RoomPage[] =>
  pages.map((page, i) => ({
    room: room('abc'[i] as string),
    floor: ZERO_ID,
    oldest: undefined,
    entries: [],
    isCut: false,
    ...page,
  }));

function merged(
  pages: Partial<RoomPage>[],
  after: number,
  end: number,
  maxBytes = 1e6,
  { window }: Pick<Delivery, 'window'> = windowFrom(end),
) {
  const run = mergePages(pagesOf(pages), { after: at(after), end: at(end), maxBytes, window });
  return { end: run.end, told: run.frames.map(placeOf) };
}

/** Which step a frame leaves its client at; one that leaves it where it is: its kind. */
const placeOf = ({ sse, kind }: Frame): number | string => {
  const place = /^id: e\.(\S+)00000-0\n/.exec(String(sse))?.[1];
  return place === undefined ? kind : Number(place);
};

/** A delivery whose window goes on from there, and is empty. */
function windowFrom(start: number) {
  const delivery = newDelivery();
  delivery.refilled({ epoch: 'e', start: at(start), last: at(start), entries: [] }, 'outrun');
  return delivery;
}

test('pages of several rooms are merged by id', () => {
  const pages = [{ entries: [entry(2), entry(9)] }, { entries: [entry(10)] }];
  expect(merged(pages, 1, 12)).toEqual({ end: at(12), told: [2, 9, 10] });
});

test('a cut page holds the others back to its last entry', () => {
  const pages = [{ entries: [entry(2)], isCut: true }, { entries: [entry(3)] }];
  expect(merged(pages, 1, 9)).toEqual({ end: at(2), told: [2] });
});

test('a gap stands where the floor is, after what other rooms said before', () => {
  const pages = [{ floor: at(5), entries: [entry(6)] }, { entries: [entry(4)] }];
  expect(merged(pages, 1, 9)).toEqual({ end: at(9), told: [4, 5, 6] });
});

test('a gap whose floor lies beyond the end is told with what stands there, not dropped', () => {
  const pages = [{ floor: at(9) }, { entries: [entry(7), entry(8)] }];
  expect(merged(pages, 2, 8)).toEqual({ end: at(8), told: [7, 'gap', 8] });
  expect(merged([{ floor: at(9) }, { floor: at(10) }], 2, 8)).toEqual({ end: at(8), told: ['gap', 8] });
});

test('what has left a room’s log but is all in the window is no gap', () => {
  const delivery = windowFrom(8);
  const hear = (n: number, entry: Partial<JournalEntry>) =>
    delivery.window.push({
      id: at(n),
      kind: 'message',
      prev: at(3),
      n: 2,
      to: 'room:main/a',
      before: at(n - 1),
      data: '{}',
      ...entry,
    });
  hear(9, { kind: 'presence', prev: ZERO_ID, n: 0 });
  hear(10, {});
  const pages = [{ floor: at(10) }];
  expect(merged(pages, 3, 8, 1e6, delivery)).toEqual({ end: at(8), told: [] });
  expect(merged(pages, 2, 8, 1e6, delivery)).toEqual({ end: at(8), told: [8] });
});

test('nobody who is cut off within a run comes back to a window that knows nothing of a gap it wasn’t told', () => {
  const [a, b, c] = [{ floor: at(7) }, { floor: at(9) }, { floor: at(9) }];
  const said = [2, 4, 5, 6, 7, 8, 9, 10].map(entry);
  for (const trimmed of [[a], [b], [a, b], [b, c]]) {
    for (const start of [3, 4, 5, 6, 7, 8, 9, 10]) {
      for (const maxBytes of [1, 300, 1e6]) {
        const { window } = windowFrom(start);
        const pages = pagesOf([...trimmed, { entries: said }]);
        const { frames } = mergePages(pages, { after: at(1), end: at(10), maxBytes, window });
        let gaps = 0;
        for (const frame of frames) {
          gaps += Number(frame.kind === 'gap');
          const place = placeOf(frame);
          const isOwed = gaps < trimmed.length;
          expect([
            start,
            maxBytes,
            place,
            isOwed && typeof place === 'number' && window.reachesBackTo(at(place)),
          ]).toEqual([start, maxBytes, place, false]);
        }
      }
    }
  }
});

test('nor to a window of another process, which began up to a minute earlier, or by as long as this one is', () => {
  const before = (ms: number) => ({ ...entry(0), id: `${800_000 - ms}-0` as StreamId });
  const pages = [{ floor: at(9) }, { entries: [before(60_001), before(60_000), before(1)] }];
  const told = [expect.stringContaining('id: e.739999-0'), 'gap', expect.stringContaining('id: e.740000-0')];
  const start = (delivery: Delivery) =>
    mergePages(pagesOf(pages), { after: at(1), end: at(8), maxBytes: 1e6, window: delivery.window })
      .frames.slice(0, 3)
      .map(({ kind, sse }) => (kind === 'gap' ? kind : String(sse)));
  expect(start(windowFrom(8))).toEqual(told);
  const longer = newDelivery();
  longer.refilled({ epoch: 'e', start: at(8), last: '860001-0' as StreamId, entries: [] }, 'outrun');
  expect(start(longer)).toEqual(['gap', told[0], told[2]]);
});

test('the gap of a floor beyond a run that is cut is told with it, if a window may go on from there', () => {
  const pages = [
    { entries: [entry(4)], isCut: true },
    { floor: at(9), entries: [entry(10)] },
  ];
  expect(merged(pages, 2, 12, 1e6, windowFrom(1))).toEqual({ end: at(4), told: ['gap', 4] });
  expect(merged(pages, 2, 12, 1e6, windowFrom(8))).toEqual({ end: at(4), told: [4] });
  const full = [{ entries: [entry(4), entry(5)] }, { floor: at(9) }];
  expect(merged(full, 2, 12, 1, windowFrom(1))).toEqual({ end: at(4), told: ['gap', 4] });
});

test('a gap that was told early takes no room where it would have stood: no run is cut for it', () => {
  const pages = [{ floor: at(9) }, { entries: [entry(4)] }];
  expect(merged(pages, 2, 9, 1, windowFrom(4))).toEqual({ end: at(9), told: ['gap', 4] });
});

test('a gap is counted in what a run may be', () => {
  const both = { entries: [entry(4), entry(5)] };
  const { window } = windowFrom(4);
  const lengths = mergePages(pagesOf([both]), { after: at(2), end: at(9), maxBytes: 1e6, window }).frames.map(
    ({ length }) => length,
  );
  const maxBytes = lengths.reduce((sum, length) => sum + length, 0);
  expect(merged([both], 2, 9, maxBytes, { window }).told).toEqual([4, 5]);
  expect(merged([{ floor: at(9) }, both], 2, 9, maxBytes, { window }).told).toEqual(['gap', 4]);
});

test('a run is cut by bytes between ids, and ends where it was cut', () => {
  const pages = [{ entries: [entry(2), entry(3)] }];
  expect(merged(pages, 1, 9, 1)).toEqual({ end: at(2), told: [2] });
});

test('a reader that ended while it was authorised doesn’t stay in the hub', () => {
  const delivery = newDelivery();
  const reader = delivery.enter({
    rooms: [room('a')],
    addresses: [],
    sink: silent,
    isAllowed: async () => true,
  });
  reader.end();
  reader.hearAs('user:main/ada', true);
  const { hub } = delivery;
  expect([hub.size, [...hub.at('user:main/ada')], hub.isRead('main' as SiteName)]).toEqual([0, [], false]);
});

test.each([
  ['none', undefined],
  ['one that the window knows', 'e.1-0'],
  ['one that Redis must be asked about', 'e.9-0'],
  ['one that is none', 'nonsense'],
])('a reader that ended before it began isn’t accepted, whatever its cursor (%s)', async (_, after) => {
  const delivery = newDelivery();
  const reader = delivery.enter({
    rooms: [room('a')],
    addresses: ['session:s'],
    sink: silent,
    isAllowed: async () => true,
  });
  delivery.heard([{ ...entry(2), kind: 'session-end', to: 'session:s', before: at(1) }]);
  const resumed = vi.fn();
  await reader.begin(after, resumed);
  expect(resumed).not.toHaveBeenCalled();
  expect(delivery.counts.begun.sse).toBe(0);
});

test('a reader that ends while Redis is asked about its cursor isn’t accepted', async () => {
  const delivery = newDelivery({
    facts: async () => {
      reader.end();
      return { epoch: 'e', last: at(9), base: ZERO_ID, isHeld: true, nextBefore: undefined };
    },
  });
  const reader = delivery.enter({
    rooms: [room('a')],
    addresses: [],
    sink: silent,
    isAllowed: async () => true,
  });
  const resumed = vi.fn();
  await reader.begin('e.9-0', resumed);
  expect(reader.ended).toBeDefined();
  expect(resumed).not.toHaveBeenCalled();
});

test('a session that ends in the same batch as a message leaves a cursor before that message', async () => {
  const delivery = newDelivery();
  let cursor: string | undefined;
  const sink: Sink = { ...silent, end: () => (cursor = reader.cursor) };
  const reader = delivery.enter({
    rooms: [room('a')],
    addresses: ['session:s'],
    sink,
    isAllowed: async () => true,
  });
  await reader.begin(undefined, () => {});
  const said: JournalEntry = { ...entry(2), to: 'room:main/a', before: at(1) };
  const ended: JournalEntry = { ...entry(3), kind: 'session-end', to: 'session:s', before: at(2) };
  delivery.heard([said, ended]);
  expect(cursor).toBe('e.1-0');
});

test('what the window keeps of an entry holds no other memory than its own', () => {
  const frame = newDelivery().window.frameOf(room('a'), { ...entry(2), data: '{"text":"häppy 👋"}' });
  expect(frame.chunk.buffer.byteLength).toBe(frame.chunk.length);
  expect(String(frame.sse)).toContain('"text":"häppy 👋"');
});

test('what has left the window is no longer in memory, however many rooms there are', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { window } = newDelivery({}, { windowEntries: 200 });
  const data = JSON.stringify({ text: 'x'.repeat(10_000) });
  const push = (n: number) => {
    const name = `room-${n % 100}`;
    window.push({ ...entry(n + 2), data, to: `room:main/${name}`, before: at(n + 1) });
    expect(window.read(window.position - 1, [room(name)], 1e6).run.frames).toHaveLength(1);
  };
  for (let n = 0; n < 200; n++) push(n);
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let n = 200; n < 5000; n++) push(n);
  expect(window.size.entries).toBe(200);
  // Buffers are given back a little after the objects that held them.
  await waitFor('memory', () => {
    collect();
    return process.memoryUsage().arrayBuffers - before < 1e6;
  });
});

test('a place that was looked up before is found where it is by now', () => {
  const { window } = newDelivery({}, { windowEntries: 4 });
  const start = window.position;
  const push = (n: number) => window.push({ ...entry(n), to: 'room:main/a', before: at(n - 1) });
  for (const n of [2, 3]) push(n);
  const isThere = (n: number) => {
    const place = window.placeOf(`e.${at(n)}`);
    const position = window.positionAfter(at(n));
    if (place !== undefined) expect(place).toMatchObject({ id: at(n), position });
    return [place !== undefined, position - start];
  };
  // Another process has heard more: it lies ahead.
  expect(isThere(5)).toEqual([false, 2]);
  expect(isThere(2)).toEqual([true, 1]);
  for (const other of [`f.${at(2)}`, `e.${at(2)}0`, 'e', '']) expect(window.placeOf(other)).toBeUndefined();
  expect(isThere(5)).toEqual([false, 2]);
  for (const n of [4, 5]) push(n);
  expect(isThere(5)).toEqual([true, 4]);
  expect(isThere(5)).toEqual([true, 4]);
  for (const n of [6, 7, 8, 9, 10]) push(n);
  expect(isThere(5)).toEqual([false, 5]);
  expect(isThere(9)).toEqual([true, 8]);
  // The history went back: what was there is no more.
  expect(window.cursorAt(at(9))).toBe(`e.${at(9)}`);
  window.refill({ epoch: 'e', start: at(1), last: at(3), entries: [] });
  expect(isThere(9)).toEqual([false, 9]);
  // Another one began, in which there may be the same ids.
  window.refill({ epoch: 'f', start: at(1), last: at(9), entries: [] });
  expect(window.cursorAt(at(9))).toBe(`f.${at(9)}`);
  expect([window.placeOf(`e.${at(9)}`), window.placeOf(`f.${at(9)}`)?.id]).toEqual([undefined, at(9)]);
});

test('what nobody is told isn’t encoded, and what is told is encoded once', () => {
  const { window } = newDelivery();
  const spy = vi.spyOn(window, 'frameOf');
  for (const n of [2, 3, 4])
    window.push({ ...entry(n), to: `room:main/${n < 4 ? 'a' : 'b'}`, before: at(n - 1) });
  expect(spy).not.toHaveBeenCalled();
  const told = (from: number) => window.read(from, [room('a')], 1e6).run.frames;
  const [second, third] = told(0);
  expect(told(1)).toEqual([third]);
  expect(told(1)[0]).toBe(third);
  expect(String(second?.sse)).toContain(`id: e.${at(2)}\n`);
  expect(spy).toHaveBeenCalledTimes(2);
});

test('a frame is a chunk as large as it says, its event within it', () => {
  const frame = new Frame('tröt', '{"text":"häppy 👋"}', { cursor: 'e.1-0', retryMs: 20 });
  const event = 'id: e.1-0\nevent: tröt\nretry: 20\ndata: {"text":"häppy 👋"}\n\n';
  expect(String(frame.sse)).toBe(event);
  expect(frame.length).toBe(Buffer.byteLength(event));
  expect(String(frame.chunk)).toBe(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
  expect(String(frame.json)).toBe('{"text":"häppy 👋"}');
  expect(String(frame.jsonWithCursor)).toBe('{"text":"häppy 👋","cursor":"e.1-0"}');
});
