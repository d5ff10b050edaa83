import { expect, test } from 'vitest';
import { type StreamId, ZERO_ID } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import { Frame } from '../src/delivery/frame.ts';
import { Hub } from '../src/delivery/hub.ts';
import { mergePages } from '../src/delivery/merge.ts';
import type { Reader, Sink } from '../src/delivery/reader.ts';
import type { JournalEntry } from '../src/log/journal.ts';
import type { RoomPage } from '../src/log/read.ts';
import { newDelivery } from './support/delivery.ts';

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
  return { end: run.end, told: run.frames.map((frame) => /^id: e\.(\S+)/.exec(String(frame.sse))?.[1]) };
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
  expect(merged(pages, '1-0', '9-0')).toEqual({ end: '9-0', told: ['4-0', '5-0', '6-0'] });
});

test('a gap whose floor lies beyond the end is told at the end, not dropped', () => {
  const pages = [{ floor: id('9-0') }, { entries: [entry('8-0')] }];
  expect(merged(pages, '2-0', '8-0')).toEqual({ end: '8-0', told: ['8-0', '8-0'] });
  expect(merged(pages, '2-0', '8-0', 1)).toEqual({ end: '8-0', told: ['8-0', '8-0'] });
});

test('the gap of a floor beyond a run that is cut is told with it, if the window goes on from there', () => {
  const pages = [
    { entries: [entry('4-0')], isCut: true },
    { floor: id('9-0'), entries: [entry('10-0')] },
  ];
  expect(merged(pages, '2-0', '12-0')).toEqual({ end: '4-0', told: ['4-0', '4-0'] });
  const later = newDelivery();
  later.refilled({ epoch: 'e', start: id('8-0'), last: id('12-0'), entries: [] }, 'outrun');
  expect(merged(pages, '2-0', '12-0', 1e6, later)).toEqual({ end: '4-0', told: ['4-0'] });
  const full = [{ entries: [entry('4-0'), entry('5-0')] }, { floor: id('9-0') }];
  expect(merged(full, '2-0', '12-0', 1)).toEqual({ end: '4-0', told: ['4-0', '4-0'] });
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
