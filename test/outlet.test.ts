import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import type { Reader } from '../src/delivery/reader.ts';
import type { Encoding } from '../src/delivery/run.ts';
import { Outlet } from '../src/http/outlet.ts';

const asIs: Encoding = () => Buffer.alloc(0);
const LARGE = Buffer.alloc(64);

function newOutlet() {
  const told: string[] = [];
  const reader = {
    ended: undefined as object | undefined,
    slowed: () => void told.push('slowed'),
    advance: () => void told.push('advance'),
    end: () => void told.push('end'),
  };
  const out = new PassThrough({ highWaterMark: 16 });
  const outlet = new Outlet(out, asIs, reader as unknown as Reader, 60_000);
  return { told, reader, out, outlet };
}

test('a socket is watched only while it is full, and its reader goes on once it has drained', async () => {
  const { told, out, outlet } = newOutlet();
  const watching = out.listenerCount('drain');
  outlet.write(Buffer.alloc(4));
  expect([outlet.isFull, told, out.listenerCount('drain')]).toEqual([false, [], watching]);
  for (let round = 1; round <= 2; round++) {
    told.length = 0;
    for (let i = 0; i < 3; i++) outlet.write(LARGE);
    expect([outlet.isFull, told, out.listenerCount('drain')]).toEqual([true, ['slowed'], watching + 1]);
    await new Promise((resolve) => {
      out.once('drain', resolve);
      out.resume();
    });
    out.pause();
    expect([outlet.isFull, told, out.listenerCount('drain')]).toEqual([
      false,
      ['slowed', 'advance'],
      watching,
    ]);
  }
});

test('of a reader that has ended nothing is watched, whatever is still written', () => {
  const { told, reader, out, outlet } = newOutlet();
  const watching = out.listenerCount('drain');
  outlet.write(LARGE);
  reader.ended = {};
  outlet.stop();
  expect(out.listenerCount('drain')).toBe(watching);
  const last = newOutlet();
  last.reader.ended = {};
  last.outlet.write(LARGE);
  expect([last.told, last.out.listenerCount('drain'), told]).toEqual([[], watching, ['slowed']]);
});
