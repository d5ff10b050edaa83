import type { Request } from 'express';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { urlOf } from '../src/browser/ask.ts';
import { queryOf } from '../src/browser/carrier.ts';
import { Refusal } from '../src/chat/refusals.ts';
import { ReadingRequests } from '../src/http/reading-request.ts';

const HEARTBEAT = { min: 1, max: 60, otherwise: 15 };

interface Asking {
  readonly query: string;
  readonly body?: Readonly<Record<string, string>> | undefined;
  readonly lastEventId?: string | undefined;
}

function request({ query, body, lastEventId }: Asking): Request {
  const get = (name: string) => (name === 'last-event-id' ? lastEventId : undefined);
  return { originalUrl: `/api/stream${query}`, body, get } as unknown as Request;
}

const fields = fc.record(
  {
    rooms: fc.constantFrom('lobby', 'a,b', 'no room!'),
    after: fc.constantFrom('e.1-0', 'e.2-0'),
    heartbeat: fc.constantFrom('2', '900', 'soon'),
    confirm: fc.constantFrom('0', '1'),
    t: fc.constantFrom('x1', 'x2'),
  },
  { requiredKeys: [] },
);
const query = fields.map((given) => {
  const text = String(new URLSearchParams(given));
  return text && `?${text}`;
});
/** Some ask the same as others, so that what was read last is asked again, … */
const askings = fc.array(query, { minLength: 1, maxLength: 2 }).chain((queries) =>
  fc.array(
    fc.record({
      query: fc.constantFrom(...queries),
      // … mostly without anything else.
      body: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fields }),
      lastEventId: fc.constantFrom(undefined, undefined, 'e.3-0'),
    }),
    { minLength: 4, maxLength: 12 },
  ),
);

function heard(readings: ReadingRequests, asking: Asking): unknown {
  try {
    const { rooms, after, number, flag } = readings.read(request(asking));
    return { rooms, after, heartbeat: number('heartbeat', HEARTBEAT), confirm: flag('confirm') };
  } catch (error) {
    return error instanceof Refusal ? error.details : error;
  }
}

function wanted({ query, body, lastEventId }: Asking): unknown {
  const inQuery = Object.fromEntries(new URLSearchParams(query));
  const { rooms, after, heartbeat, confirm = '0' }: Record<string, string> = { ...inQuery, ...body };
  if (rooms === undefined || rooms === 'no room!') return { field: rooms === undefined ? 'rooms' : 'room' };
  if (heartbeat === 'soon') return { field: 'heartbeat' };
  return {
    rooms: rooms.split(','),
    after: lastEventId ?? after,
    heartbeat: heartbeat === undefined ? 15 : Math.min(60, Number(heartbeat)),
    confirm: confirm === '1',
  };
}

test('whatever others asked before, each is heard for what it asks', () => {
  fc.assert(
    fc.property(askings, (all) => {
      const readings = new ReadingRequests();
      for (const asking of all) expect(heard(readings, asking)).toEqual(wanted(asking));
    }),
    { numRuns: 500 },
  );
});

test.each(['', 'site=shop'])(
  'what was read last isn’t read again, though each client’s query has something of its own (%s)',
  (site) => {
    const readings = new ReadingRequests();
    const asking = (after: string) => {
      const access = { url: '', fetch, site };
      const asked = { rooms: ['lobby'], after: () => after, access, heartbeatMs: 2000 };
      const url = urlOf(access, `/stream?${queryOf(asked, { confirm: '1' })}`);
      return readings.read(request({ query: url.slice(url.indexOf('?')) }));
    };
    const first = asking('e.1-0');
    expect(asking('e.1-0')).toBe(first);
    // What one client adds is its own.
    expect(readings.read(request({ query: '?rooms=lobby', lastEventId: 'e.9-0' })).after).toBe('e.9-0');
    expect(readings.read(request({ query: '?rooms=lobby' })).after).toBeUndefined();
    expect(asking('e.2-0').after).toBe('e.2-0');
    const [other, refused] = [{ query: '?rooms=lobby', body: { rooms: 'a' } }, { query: '?rooms=no%20room' }];
    expect(readings.read(request(other)).rooms).toEqual(['a']);
    expect(() => readings.read(request(refused))).toThrow(Refusal);
    expect(asking('e.2-0').rooms).toEqual(['lobby']);
  },
);
