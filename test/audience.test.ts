import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import type { Seat, Told } from '../src/delivery/audience.ts';
import { Hub } from '../src/delivery/hub.ts';
import type { Reader } from '../src/delivery/reader.ts';
import { newDelivery } from './support/delivery.ts';

const ROOM = 'main/a' as RoomKey;

/** A reader that only counts how often it was to hear. */
class Counting {
  seat: Seat | undefined;
  heard = 0;

  hear(): undefined {
    this.heard++;
  }
}

const number = fc.nat({ max: 30 });
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('come' as const), number }),
    fc.record({ do: fc.constant('leave' as const), number }),
    fc.record({ do: fc.constant('hear' as const), number }),
    fc.record({ do: fc.constant('begin' as const), number }),
  ),
  { maxLength: 60 },
);

test('whoever leaves during a round, each of the others hears of it once, and who comes not at all', () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const delivery = newDelivery();
      const hub = new Hub();
      const told: Told[] = [];
      const here: Counting[] = [];
      const come = () => {
        const reader = new Counting();
        [reader.seat] = hub.enter(reader as unknown as Reader, [ROOM]);
        here.push(reader);
      };
      come();
      const [first] = here as [Counting];
      const { audience } = first.seat as Seat;
      let due = [...here];
      audience.beginRound();
      const finish = () => {
        audience.hear(1000, delivery, told);
        expect(audience.hasHeard).toBe(true);
        for (const reader of here) expect(reader.heard).toBe(due.includes(reader) ? 1 : 0);
      };
      for (const { do: what, number } of steps) {
        if (what === 'come') come();
        if (what === 'hear') audience.hear(number, delivery, told);
        if (what === 'leave' && here.length > 1) {
          const [left] = here.splice(number % here.length, 1) as [Counting];
          hub.leave(left as unknown as Reader, [left.seat as Seat], []);
          due = due.filter((reader) => reader !== left);
        }
        if (what === 'begin') {
          finish();
          for (const reader of here) reader.heard = 0;
          due = [...here];
          audience.beginRound();
        }
      }
      finish();
    }),
    { numRuns: 2000 },
  );
});

test('there is an audience as long as somebody reads its room', () => {
  const hub = new Hub();
  const [one, other] = [{} as Reader, {} as Reader];
  const seats = hub.enter(one, [ROOM, 'main/b' as RoomKey]);
  const more = hub.enter(other, [ROOM]);
  expect(more[0]?.audience).toBe(seats[0]?.audience);
  expect([hub.size, hub.audienceAt('room:main/a'), hub.audienceAt('room:main/b')]).toEqual([
    2,
    seats[0]?.audience,
    seats[1]?.audience,
  ]);
  hub.leave(one, seats, []);
  expect([hub.audienceAt('room:main/a'), hub.audienceAt('room:main/b')]).toEqual([
    more[0]?.audience,
    undefined,
  ]);
  hub.leave(other, more, []);
  expect([hub.size, hub.audienceAt('room:main/a')]).toEqual([0, undefined]);
});
