import { WebSocket } from 'ws';
import type { WebSocketLike } from '../../src/browser/carrier.ts';
import { ThroughlineClient } from '../../src/browser/client.ts';
import { compareIds } from '../../src/browser/cursors.ts';
import type { CarrierName, State } from '../../src/browser/feed.ts';
import type { Person } from '../support/service.ts';
import { waitFor } from '../support/wait-for.ts';
import type { OpenRoute } from './open-route.ts';
import type { Report, Timing } from './report.ts';
import type { Route } from './routes.ts';
import { keyOf, randomFrom, say } from './traffic.ts';

const SETTLED_WITHIN_MS = 25_000;
// A message told to a line that then fell silent is as lost as one posted in the silence.
const BEFORE_OUTAGE_MS = 1000;

interface Sent {
  acceptedAt: number | undefined;
  toldAt: number | undefined;
}

interface Run {
  readonly seconds: number;
  readonly room: string;
  /** Somebody at the service itself. */
  readonly poster: Person;
  /** Who the client is. */
  readonly person: Person;
  readonly seed: number;
}

/** Both talk in a room for a while, one at the service, the client behind the route; what became of every message. */
export async function runRoute(route: Route, open: OpenRoute, run: Run): Promise<Report> {
  const { seconds, room, poster, person, seed } = run;
  const random = randomFrom(seed);
  const sent = new Map<string, Sent>();
  const sentOf = (text: string): Sent => {
    const key = keyOf(text);
    const known = sent.get(key) ?? { acceptedAt: undefined, toldAt: undefined };
    sent.set(key, known);
    return known;
  };
  const told: string[] = [];
  const states: State[] = [];
  const seen = { doubled: 0, disordered: 0, gaps: 0, lastId: '0-0' };
  const client = new ThroughlineClient({
    url: open.url,
    share: false,
    fetch: (input, init = {}) =>
      fetch(input, { ...init, headers: { ...(init.headers as object), Cookie: person.cookie } }),
    WebSocket: class extends WebSocket {
      constructor(url: string) {
        super(url, { headers: { Cookie: person.cookie } });
      }
    } as unknown as WebSocketLike,
  });
  client.on('message', ({ id, text }) => {
    const message = sentOf(text);
    if (message.toldAt !== undefined) seen.doubled++;
    else if (compareIds(id, seen.lastId) <= 0) seen.disordered++;
    message.toldAt ??= performance.now();
    seen.lastId = id;
    told.push(keyOf(text));
  });
  client.on('gap', () => seen.gaps++);
  client.on('state', (state) => states.push(state));
  client.on('outbox', ({ text, status }) => {
    if (status === 'sent') sentOf(text).acceptedAt ??= performance.now();
  });

  try {
    await client.connect([room]);
    const startedAt = performance.now();
    open.begin();
    const postAtService = async (text: string) => {
      await poster.post(text, room);
      sentOf(text).acceptedAt = performance.now();
    };
    const postByClient = (text: string) => {
      sentOf(text);
      client.post(room, text);
    };
    await Promise.all([
      say('poster', { forMs: seconds * 1000, random, bursts: 6, say: postAtService }),
      say('client', { forMs: seconds * 1000, random, bursts: 2, say: postByClient }),
    ]);
    const isSettled = () => client.pending().length === 0 && [...sent.values()].every(({ toldAt }) => toldAt);
    await waitFor('everything to be told', isSettled, SETTLED_WITHIN_MS).catch(() => {});
    const outage = route.outage && {
      from: startedAt + route.outage.fromMs - BEFORE_OUTAGE_MS,
      to: startedAt + route.outage.toMs,
    };
    const timingOf = ([key, { acceptedAt, toldAt }]: [string, Sent]): Timing[] => {
      if (acceptedAt === undefined || toldAt === undefined) return [];
      const due = outage && acceptedAt > outage.from ? Math.max(acceptedAt, outage.to) : acceptedAt;
      return [{ key, toldAfterMs: toldAt - startedAt, lateMs: Math.max(0, toldAt - due) }];
    };
    const timings = [...sent].flatMap(timingOf).sort((a, b) => a.lateMs - b.lateMs);
    return {
      route,
      messages: sent.size,
      lost: [...sent]
        .filter(([, { acceptedAt, toldAt }]) => acceptedAt !== undefined && toldAt === undefined)
        .map(([key]) => key),
      unsent: client.pending().map(({ text }) => keyOf(text)),
      doubled: seen.doubled,
      disordered: seen.disordered + unlikeTheLog(await logOf(poster, room), told),
      gaps: seen.gaps,
      firstMs: timings.find(({ key }) => key === 'poster 0')?.lateMs,
      timings,
      carriers: changesOf(states),
      phase: client.state.phase,
      offline: states.flatMap((state) => (state.phase === 'offline' ? [state.reason] : [])),
    };
  } finally {
    client.close();
  }
}

/** Everything in the room's log, oldest first. */
async function logOf(person: Person, room: string): Promise<string[]> {
  const keys: string[] = [];
  for (let before = ''; ; ) {
    const { events, more } = await person.history(before && `before=${before}`, room);
    keys.unshift(...events.map(({ text }) => keyOf(text as string)));
    if (!more || events.length === 0) return keys;
    before = events[0]?.id as string;
  }
}

/** How many messages stand elsewhere than in the log, stand there twice, or out of the order they were posted in. */
function unlikeTheLog(log: readonly string[], told: readonly string[]): number {
  const last = new Map<string, number>();
  const isOutOfOrder = (key: string) => {
    const [name, number] = key.split(' ') as [string, string];
    const isLate = Number(number) <= (last.get(name) ?? -1);
    last.set(name, Number(number));
    return isLate;
  };
  return (
    log.filter((key, index) => told[index] !== undefined && told[index] !== key).length +
    log.filter(isOutOfOrder).length
  );
}

function changesOf(states: readonly State[]): CarrierName[] {
  const carriers = states.flatMap((state) => ('carrier' in state ? [state.carrier] : []));
  return carriers.filter((carrier, index) => carrier !== carriers[index - 1]);
}
