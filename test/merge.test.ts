import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test, vi } from 'vitest';
import { type StreamId, ZERO_ID } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import { Frame } from '../src/delivery/frame.ts';
import { Hub } from '../src/delivery/hub.ts';
import { mergePages } from '../src/delivery/merge.ts';
import type { Reader, Sink } from '../src/delivery/reader.ts';
import type { JournalEntry } from '../src/log/journal.ts';
import type { RoomPage } from '../src/log/read.ts';
import { newDelivery } from './support/delivery.ts';
import { waitFor } from './support/wait-for.ts';

const id = (text: string) => text as StreamId;
const room = (name: string) => `main/${name}` as RoomKey;
const entry = (at: string) => ({ id: id(at), kind: 'message', prev: ZERO_ID, n: 1, data: '{"text":"x"}' });

function merged(
  pages: Partial<RoomPage>[],
  after: string,
  end: string,
  maxBytes = 1e6,
  { window } = newDelivery(),
) {
  const full = pages.map((page, i) => ({
    room: room('abc'[i] as string),
    floor: ZERO_ID,
    oldest: undefined,
    entries: [],
    isCut: false,
    ...page,
  }));
  const run = mergePages(full, { after: id(after), end: id(end), maxBytes, window });
  return { end: run.end, told: run.frames.map(placeOf) };
}

/** The id that a frame leaves its client at; one that leaves it where it is: its kind. */
const placeOf = ({ sse, kind }: Frame): string => /^id: e\.(\S+)/.exec(String(sse))?.[1] ?? kind;

/** A delivery whose window goes on from there. */
function windowFrom(start: string) {
  const delivery = newDelivery();
  delivery.refilled({ epoch: 'e', start: id(start), last: id('99-0'), entries: [] }, 'outrun');
  return delivery;
}

test('pages of several rooms are merged by id', () => {
  const pages = [{ entries: [entry('2-0'), entry('9-0')] }, { entries: [entry('10-0')] }];
  expect(merged(pages, '1-0', '12-0')).toEqual({ end: '12-0', told: ['2-0', '9-0', '10-0'] });
});

test('a cut page holds the others back to its last entry', () => {
  const pages = [{ entries: [entry('2-0')], isCut: true }, { entries: [entry('3-0')] }];
  expect(merged(pages, '1-0', '9-0')).toEqual({ end: '2-0', told: ['2-0'] });
});

test('a gap stands where the floor is, after what other rooms said before', () => {
  const pages = [{ floor: id('5-0'), entries: [entry('6-0')] }, { entries: [entry('4-0')] }];
  expect(merged(pages, '1-0', '9-0', 1e6, windowFrom('9-0'))).toEqual({
    end: '9-0',
    told: ['4-0', '5-0', '6-0'],
  });
});

test('a gap whose floor lies beyond the end is told with what stands there, not dropped', () => {
  const pages = [{ floor: id('9-0') }, { entries: [entry('7-0'), entry('8-0')] }];
  const told = ['7-0', 'gap', '8-0'];
  expect(merged(pages, '2-0', '8-0', 1e6, windowFrom('8-0'))).toEqual({ end: '8-0', told });
  expect(merged([{ floor: id('9-0') }, { floor: id('10-0') }], '2-0', '8-0', 1e6, windowFrom('8-0'))).toEqual(
    { end: '8-0', told: ['gap', '8-0'] },
  );
});

test('nobody who is cut off within a run comes back to a window that knows nothing of a gap it wasn’t told', () => {
  const [a, b, c] = [{ floor: id('7-0') }, { floor: id('9-0') }, { floor: id('9-0') }];
  const said = [2, 4, 5, 6, 7, 8, 9, 10].map((at) => entry(`${at}-0`));
  for (const trimmed of [[a], [b], [a, b], [b, c]]) {
    for (const start of [3, 4, 5, 6, 7, 8, 9, 10]) {
      for (const maxBytes of [1, 300, 1e6]) {
        const { window } = windowFrom(`${start}-0`);
        const pages = [...trimmed, { entries: said }].map((page, i) => ({
          room: room('abc'[i] as string),
          floor: ZERO_ID,
          oldest: undefined,
          entries: [],
          isCut: false,
          ...page,
        }));
        const { frames } = mergePages(pages, { after: id('1-0'), end: id('10-0'), maxBytes, window });
        let gaps = 0;
        for (const frame of frames) {
          gaps += Number(frame.kind === 'gap');
          const place = placeOf(frame);
          const isOwed = gaps < trimmed.length;
          expect([
            start,
            maxBytes,
            place,
            isOwed && place !== 'gap' && window.reachesBackTo(id(place)),
          ]).toEqual([start, maxBytes, place, false]);
        }
      }
    }
  }
});

test('the gap of a floor beyond a run that is cut is told with it, if the window goes on from there', () => {
  const pages = [
    { entries: [entry('4-0')], isCut: true },
    { floor: id('9-0'), entries: [entry('10-0')] },
  ];
  expect(merged(pages, '2-0', '12-0')).toEqual({ end: '4-0', told: ['gap', '4-0'] });
  expect(merged(pages, '2-0', '12-0', 1e6, windowFrom('8-0'))).toEqual({ end: '4-0', told: ['4-0'] });
  const full = [{ entries: [entry('4-0'), entry('5-0')] }, { floor: id('9-0') }];
  expect(merged(full, '2-0', '12-0', 1)).toEqual({ end: '4-0', told: ['gap', '4-0'] });
});

test('a run is cut by bytes between ids, and ends where it was cut', () => {
  const pages = [{ entries: [entry('2-0'), entry('3-0')] }];
  expect(merged(pages, '1-0', '9-0', 1)).toEqual({ end: '2-0', told: ['2-0'] });
});

const silent: Sink = {
  carrier: 'sse',
  maxBytes: 1e6,
  isFull: false,
  tell: () => {},
  level: () => {},
  end: () => {},
};

test('a reader that ended while it was authorised doesn’t stay in the hub', () => {
  const delivery = newDelivery();
  const reader = delivery.enter({
    rooms: [room('a')],
    addresses: [],
    sink: silent,
    isAllowed: async () => true,
  });
  reader.end();
  reader.listenTo('user:main/ada');
  expect(delivery.hub.size).toBe(0);
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
  const said: JournalEntry = { ...entry('2-0'), to: 'room:main/a', before: id('1-0') };
  const ended: JournalEntry = { ...entry('3-0'), kind: 'session-end', to: 'session:s', before: id('2-0') };
  delivery.heard([said, ended]);
  expect(cursor).toBe('e.1-0');
});

test('what the window keeps of an entry holds no other memory than its own', () => {
  const frame = newDelivery().window.frameOf(room('a'), { ...entry('2-0'), data: '{"text":"häppy 👋"}' });
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
    window.push({ ...entry(`${n + 2}-0`), data, to: `room:main/${name}`, before: id(`${n + 1}-0`) });
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

test('what nobody is told isn’t encoded, and what is told is encoded once', () => {
  const { window } = newDelivery();
  const spy = vi.spyOn(window, 'frameOf');
  for (const at of [2, 3, 4])
    window.push({ ...entry(`${at}-0`), to: `room:main/${at < 4 ? 'a' : 'b'}`, before: id(`${at - 1}-0`) });
  expect(spy).not.toHaveBeenCalled();
  const told = (from: number) => window.read(from, [room('a')], 1e6).run.frames;
  const [second, third] = told(0);
  expect(told(1)).toEqual([third]);
  expect(told(1)[0]).toBe(third);
  expect(String(second?.sse)).toContain('id: e.2-0\n');
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

test('those who read one room alone share one list, until nobody reads it', () => {
  const hub = new Hub();
  const first = [room('a')];
  const reader = {} as Reader;
  hub.enter(reader, ['room:main/a']);
  expect(hub.listOf(first)).toBe(first);
  expect(hub.listOf([room('a')])).toBe(first);
  const several = [room('a'), room('b')];
  expect(hub.listOf(several)).toBe(several);
  hub.leave(reader, ['room:main/a']);
  const later = [room('a')];
  expect(hub.listOf(later)).toBe(later);
});
