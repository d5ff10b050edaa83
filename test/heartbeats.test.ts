import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Heartbeats } from '../src/delivery/heartbeats.ts';
import { Pulse } from '../src/delivery/pulse.ts';
import type { Reader } from '../src/delivery/reader.ts';
import { waitFor } from './support/wait-for.ts';

const written = (n: number, cursor: string | undefined) =>
  `${cursor === undefined ? '' : `id: ${cursor}\n`}event: heartbeat\ndata: {"kind":"heartbeat","n":${n}}\n\n`;

test('whatever is asked for in whatever order, each heartbeat has its own number and cursor', () => {
  const n = fc.integer({ min: 1, max: 400 });
  // Long runs at one place, so that more are due there than are kept.
  const atOnePlace = fc.record({
    cursor: fc.constantFrom(undefined, 'e.1-0', 'e.2-0'),
    beats: fc.array(n, { maxLength: 600, size: 'max' }),
  });
  fc.assert(
    fc.property(fc.array(atOnePlace, { maxLength: 6 }), (places) => {
      const heartbeats = new Heartbeats();
      for (const { cursor, beats } of places)
        for (const n of beats) expect(heartbeats.frame(n, cursor).sse.toString()).toBe(written(n, cursor));
    }),
    { numRuns: 30 },
  );
});

test('those who are due the same one at the same place share it, whoever is behind; no more than some hundreds are kept', () => {
  const heartbeats = new Heartbeats();
  const first = heartbeats.frame(3, 'e.1-0');
  for (let n = 4; n < 200; n++) {
    heartbeats.frame(n, 'e.1-0');
    heartbeats.frame(n, undefined);
  }
  expect(heartbeats.frame(3, 'e.1-0')).toBe(first);
  expect(heartbeats.frame(3, 'e.2-0')).not.toBe(first);
  const before = heartbeats.frame(1, 'e.2-0');
  for (let n = 2; n < 1000; n++) heartbeats.frame(n, 'e.2-0');
  expect(heartbeats.frame(1, 'e.2-0')).not.toBe(before);
});

test('a stream’s heartbeats go on, one each interval, until it is stopped', async () => {
  const told: string[] = [];
  const reader = { isLevel: true, cursor: 'e.1-0', toldAt: Number.NEGATIVE_INFINITY } as unknown as Reader;
  const sink = {
    isFull: false,
    notice: ({ sse }: { sse: Buffer }) => void told.push(sse.toString()),
    pad: () => {},
  };
  const pulse = new Pulse(reader, sink, {
    nonce: 'n',
    heartbeatMs: 40,
    leaseMs: 60_000,
    maxAgeMs: 60_000,
    byeSpreadMs: 0,
    heartbeats: new Heartbeats(),
  });
  const startedAt = performance.now();
  pulse.start('e.1-0');
  pulse.settle(true);
  await waitFor('some heartbeats', () => told.length > 6);
  pulse.stop();
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(500 + 5 * 40 - 20);
  const atStop = told.length;
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(told).toHaveLength(atStop);
  expect(told.slice(1)).toEqual(told.slice(1).map((_, i) => written(i + 1, 'e.1-0')));
});

test.each([
  ['comes before its proof where it is of use', true],
  ['doesn’t come where it isn’t, and its proof does all the same', false],
])('a stream’s filler %s', async (_, needsPadding) => {
  const told: string[] = [];
  let ended: Reader['ended'];
  const reader = {
    isLevel: true,
    cursor: 'e.1-0',
    toldAt: 0,
    get ended() {
      return ended;
    },
  } as unknown as Reader;
  const sink = {
    isFull: false,
    notice: ({ kind }: { kind: string }) => void told.push(kind),
    pad: () => void told.push('filler'),
  };
  const newPulse = () =>
    new Pulse(reader, sink, {
      nonce: 'n',
      heartbeatMs: 60_000,
      leaseMs: 60_000,
      maxAgeMs: 60_000,
      byeSpreadMs: 0,
      heartbeats: new Heartbeats(),
    });
  const pulse = newPulse();
  const startedAt = performance.now();
  pulse.start('e.1-0');
  pulse.settle(needsPadding);
  await waitFor('the proof', () => told.includes('heartbeat'));
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(490);
  expect(told).toEqual(needsPadding ? ['hello', 'filler', 'heartbeat'] : ['hello', 'heartbeat']);
  pulse.stop();

  // One that ended while it began is left alone.
  const other = newPulse();
  other.start('e.1-0');
  ended = { by: undefined };
  told.length = 0;
  other.settle(needsPadding);
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(told).toEqual([]);
});
