import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import type { SiteName } from '../src/chat/sites.ts';
import type { Audience, Told } from '../src/delivery/audience.ts';
import { Hub } from '../src/delivery/hub.ts';
import type { Reader } from '../src/delivery/reader.ts';
import { newDelivery, silent } from './support/delivery.ts';

const ROOM = 'main/a' as RoomKey;

/** A reader that only counts how often it was to hear. */
class Counting {
  readonly reader = this;
  readonly audience: Audience;
  index = 0;
  heard = 0;

  constructor(hub: Hub) {
    this.audience = hub.audienceFor(ROOM);
    hub.enter(this as unknown as Reader, []);
  }

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
      const come = () => here.push(new Counting(hub));
      come();
      const [{ audience }] = here as [Counting];
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
          hub.leave(left as unknown as Reader, []);
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

test('whoever reads is found by room, site and address as long as it reads, and once, however many rooms it reads', () => {
  const delivery = newDelivery();
  const { hub } = delivery;
  const enter = (session: string, ...rooms: string[]) =>
    delivery.enter({
      rooms: rooms as RoomKey[],
      addresses: [`session:${session}`],
      sink: silent,
      isAllowed: async () => true,
    });
  const of = (readers: Iterable<Reader>) => new Set(readers);
  const main = 'main' as SiteName;
  const shop = 'shop' as SiteName;

  const ada = enter('a', 'main/a', 'main/b');
  const bob = enter('b', 'main/b');
  const customer = enter('c', 'shop/b');
  ada.hearAs('user:main/ada', false);
  bob.hearAs('user:main/bob', true);
  expect(hub.size).toBe(3);
  expect([...hub.everyone()].length).toBe(3);
  expect(of(hub.everyone())).toEqual(of([ada, bob, customer]));
  expect([...hub.atSite(main)].length).toBe(2);
  expect(of(hub.atSite(main))).toEqual(of([ada, bob]));
  expect([...hub.guestsAt(main)]).toEqual([bob]);
  expect([...hub.guestsAt(shop)]).toEqual([]);
  expect([...hub.at('session:a'), ...hub.at('user:main/ada')]).toEqual([ada, ada]);
  expect(hub.audienceAt('room:main/b')).toBe(bob.audience);

  ada.end();
  expect(hub.audienceAt('room:main/a')).toBeUndefined();
  expect([...hub.atSite(main)]).toEqual([bob]);
  expect([...hub.at('session:a'), ...hub.at('user:main/ada')]).toEqual([]);
  bob.end();
  expect([hub.size, hub.isRead(main), hub.isRead(shop)]).toEqual([1, false, true]);
  expect(hub.audienceAt('room:main/b')).toBeUndefined();

  const [host, gus, eve] = [
    enter('h', 'main/a'),
    enter('g', 'main/b', 'main/a'),
    enter('e', 'main/b'),
  ] as const;
  host.hearAs('user:main/host', false);
  gus.hearAs('user:main/gus', true);
  eve.hearAs('user:main/eve', true);
  eve.end();
  expect([...hub.guestsAt(main)]).toEqual([gus]);
  const ending = { code: 'session_ended' } as const;
  delivery.endSite(main, 'guests', ending);
  expect([host.ended, gus.ended, customer.ended]).toEqual([undefined, { by: ending }, undefined]);
  delivery.endSite(shop, 'everybody', ending);
  expect([host.ended, customer.ended, hub.size]).toEqual([undefined, { by: ending }, 1]);
});
