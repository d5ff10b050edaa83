import type { Request } from 'express';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Refusal } from '../src/chat/refusals.ts';
import { parseReading } from '../src/http/reading-request.ts';

const HEARTBEAT = { min: 1, max: 60, otherwise: 15 };

interface Asking {
  readonly query: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, string>> | undefined;
  readonly lastEventId?: string | undefined;
}

function request({ query, body, lastEventId }: Asking): Request {
  const get = (name: string) => (name === 'last-event-id' ? lastEventId : undefined);
  return { originalUrl: `/api/stream?${new URLSearchParams(query)}`, body, get } as unknown as Request;
}

const fields = fc.record(
  {
    rooms: fc.constantFrom('lobby', 'a,b', 'no room!'),
    after: fc.constantFrom('e.1-0', 'e.2-0'),
    heartbeat: fc.constantFrom('2', '900', 'soon'),
    confirm: fc.constantFrom('0', '1'),
  },
  { requiredKeys: [] },
);
const asking: fc.Arbitrary<Asking> = fc.record({
  query: fields,
  body: fc.option(fields, { nil: undefined }),
  lastEventId: fc.option(fc.constant('e.3-0'), { nil: undefined }),
});

function heard(asking: Asking): unknown {
  try {
    const { rooms, after, number, flag } = parseReading(request(asking));
    return { rooms, after, heartbeat: number('heartbeat', HEARTBEAT), confirm: flag('confirm') };
  } catch (error) {
    return error instanceof Refusal ? error.details : error;
  }
}

function wanted({ query, body, lastEventId }: Asking): unknown {
  const { rooms, after, heartbeat, confirm = '0' }: Record<string, string> = { ...query, ...body };
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
    fc.property(fc.array(asking, { maxLength: 12 }), (all) => {
      for (const asking of all) expect(heard(asking)).toEqual(wanted(asking));
    }),
    { numRuns: 500 },
  );
});
