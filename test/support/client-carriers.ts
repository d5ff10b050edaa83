import { setTimeout as pause } from 'node:timers/promises';
import type { ThroughlineClient } from '../../src/browser/client.ts';
import type { CarrierName } from '../../src/browser/feed.ts';
import { type Carrier, Follower } from './carriers.ts';
import { clientOf } from './client.ts';
import type { Person, WireEvent } from './service.ts';

const LADDERS: readonly (readonly CarrierName[])[] = [
  ['sse', 'long-poll'],
  ['post-stream', 'long-poll'],
  ['websocket', 'long-poll'],
  ['long-poll'],
  ['short-poll'],
  ['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'],
];

/** What the client does, as a follower sees it. */
function followWith(
  client: ThroughlineClient,
  rooms: readonly string[],
  after: string | undefined,
): Follower {
  const follower = new Follower(after);
  const tell = (event: object) => {
    if (!follower.signal.aborted) follower.told(event as WireEvent, client.cursor);
  };
  client.on('message', tell);
  client.on('gap', tell);
  follower.done = new Promise<void>((resolve, reject) => {
    follower.signal.addEventListener('abort', () => resolve());
    client.on('state', ({ phase }) => phase === 'live' && tell({ kind: 'hello' }));
    client.on('ended', ({ reason }) => {
      tell({ kind: 'bye', code: reason });
      resolve();
    });
    client.connect(rooms).catch(reject);
  }).then(
    () => client.close(),
    (error) => {
      client.close();
      if (!follower.signal.aborted) follower.failure = error;
    },
  );
  return follower;
}

/** The client itself as a reader, on each rung and on the whole ladder. */
export const clientCarriers: Carrier[] = LADDERS.map((carriers) => ({
  name: `the client on ${carriers.length > 2 ? 'the whole ladder' : carriers[0]}`,
  saysHello: true,
  ...(carriers[0] === 'short-poll' && { asksEveryMs: 2000 }),
  follow: (person: Person, rooms: string[], after?: string) =>
    followWith(clientOf(person, { carriers, ...(after !== undefined && { cursor: after }) }), rooms, after),
}));

/** The client on ladders of one rung each, changed again and again, always from its own cursor. */
export const changingClient: Carrier = {
  name: 'the client over ladders that change',
  saysHello: true,
  follow(person, rooms, after) {
    const outer = new Follower(after);
    const run = async () => {
      for (let i = 0; !outer.signal.aborted; i++) {
        const carriers = LADDERS[i % LADDERS.length] as readonly CarrierName[];
        const client = clientOf(person, { carriers, ...(outer.cursor && { cursor: outer.cursor }) });
        const inner = followWith(client, rooms, outer.cursor);
        const from = inner.all.length;
        outer.signal.addEventListener('abort', () => void inner.cut());
        const told = inner.told.bind(inner);
        inner.told = (event, cursor) => {
          told(event, cursor);
          outer.told(event, cursor);
        };
        const until = performance.now() + 150 + 300 * Math.random();
        while (performance.now() < until || inner.all.length === from) {
          if (outer.signal.aborted || inner.failure) break;
          await pause(10);
          if (inner.events.at(-1)?.kind === 'bye') return;
        }
        await inner.cut();
        if (inner.failure) throw inner.failure;
        outer.cursor = client.cursor ?? outer.cursor;
      }
    };
    outer.done = run().catch((error) => {
      outer.failure = error;
    });
    return outer;
  },
};
