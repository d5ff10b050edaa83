import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Heartbeats } from '../src/delivery/heartbeats.ts';

const written = (n: number, cursor: string | undefined) =>
  `${cursor === undefined ? '' : `id: ${cursor}\n`}event: heartbeat\ndata: {"kind":"heartbeat","n":${n}}\n\n`;

test('whatever is asked for in whatever order, each heartbeat has its own number and cursor', () => {
  const asked = fc.array(
    fc.record({ n: fc.integer({ min: 1, max: 400 }), cursor: fc.constantFrom(undefined, 'e.1-0', 'e.2-0') }),
    { maxLength: 2000, size: 'max' },
  );
  fc.assert(
    fc.property(asked, (all) => {
      const heartbeats = new Heartbeats();
      for (const { n, cursor } of all)
        expect(heartbeats.frame(n, cursor).sse.toString()).toBe(written(n, cursor));
    }),
    { numRuns: 30 },
  );
});

test('those who are due the same one at the same place share it, however many others are due', () => {
  const heartbeats = new Heartbeats();
  const first = heartbeats.frame(3, 'e.1-0');
  for (let n = 4; n < 200; n++) heartbeats.frame(n, 'e.1-0');
  expect(heartbeats.frame(3, 'e.1-0')).toBe(first);
  expect(heartbeats.frame(3, 'e.2-0')).not.toBe(first);
});
