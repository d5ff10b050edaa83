import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSite, parseSite, type SiteName } from '../src/chat/sites.ts';
import { createThroughline } from '../src/library.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import { carriers } from './support/carriers.ts';
import { KEY, nowS, said, sign } from './support/claims.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { routesOf } from './support/routes.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const MAIN = 'main' as SiteName;
const SECRET = 'words that nobody who isn’t let in may read';

let redis: TestRedis;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await redis.stop();
});

/** A service whose site `main` lets guests in, until it is told not to. */
async function serve() {
  const config = testConfig(redis);
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  const main = parseSite({ site: 'main', claimKeys: [{ id: 'a', secret: KEY, createdAt: 1 }] });
  await sites.put(main);
  const server = await startTestServer(config);
  closing.push(() => server.close());
  const shutGuestsOut = () => sites.put({ ...main, guests: 'refused' });
  return { config, sites, url: server.url, shutGuestsOut };
}

/** What tells nothing of what is said or of who is there, and changes nothing of it; and why. */
const OPEN = new Map([
  ['GET /healthz', 'whether the process is up'],
  ['GET /readyz', 'whether Redis answers'],
  ['GET /rooms/:room', 'the page without anything in it'],
  ['GET /embed/:site/:room', 'the page without anything in it'],
  ['GET /plain/', 'sends on to the lobby’s page'],
  ['GET /api/session', 'says that one is nobody'],
  ['POST /api/session/end', 'logs out'],
  ['POST /plain/:room/log-out', 'logs out'],
  ['POST /api/doctor', 'counts what a browser found of its network'],
  ['GET /api/doctor/stream', 'carries its own times'],
  ['POST /api/doctor/stream', 'carries its own times'],
  ['GET /api/doctor/poll', 'carries its own times'],
  ['GET /api/doctor/echo', 'tells a request back'],
]);

const PARAMETERS: Record<string, string> = { room: 'lobby', site: 'main' };

/** Bodies and queries with which each route would do all it can. */
const ASKED = { rooms: 'lobby', text: 'x', name: 'Eve', title: 'x', nonce: 'n'.repeat(22), wait: '0' };
const BODY_OF: Record<string, readonly (keyof typeof ASKED)[]> = {
  'POST /api/session': ['name'],
  'POST /api/rooms': ['title'],
  'POST /api/rooms/:room/messages': ['text'],
  'POST /api/stream': ['rooms'],
  'POST /api/poll': ['rooms', 'wait'],
  'POST /api/confirm': ['rooms', 'nonce'],
};

describe('once a site refuses guests', () => {
  test('no route lets an unsigned user read or write, with an old session or none, by JSON or by form', async () => {
    const { config, url, shutGuestsOut } = await serve();
    const chat = await createThroughline(config);
    closing.push(() => chat.close());
    const ada = await Person.byClaims(url, sign(said()));
    await ada.post(SECRET);
    await ada.send('/api/confirm', { rooms: ['lobby'] });
    const guest = await Person.logIn(url, 'Gus');
    const { formToken } = (await (await guest.get('/api/session')).json()) as { formToken: string };
    await shutGuestsOut();
    await waitFor('the change', async () => (await guest.get('/api/rooms')).status === 403, 3000);
    const { n } = (await (await ada.get('/api/rooms/lobby')).json()) as { n: number };

    const routes = routesOf(chat.router);
    expect(routes).toEqual(
      expect.arrayContaining([
        'GET /api/stream',
        'POST /api/tokens',
        'POST /plain/:room/post',
        ...OPEN.keys(),
      ]),
    );
    for (const route of routes.filter((name) => !OPEN.has(name))) {
      const [method = '', path = ''] = route.split(' ');
      const address = path.replace(/:(\w+)/g, (_all, name: string) => PARAMETERS[name] ?? `no ${name}`);
      const query = '?rooms=lobby&wait=0&nonce=nnnnnnnnnnnnnnnnnnnnnn&seconds=0';
      const fields = BODY_OF[route] ?? ['text', 'name'];
      const body = Object.fromEntries(fields.map((field) => [field, ASKED[field]]));
      const room = route === 'POST /api/rooms' ? { room: 'den' } : {};
      for (const cookie of [guest.cookie, '']) {
        for (const kind of method === 'GET' ? ['query', 'query of a page'] : ['json', 'form']) {
          const headers = { Cookie: cookie, ...(kind !== 'query' && { Origin: url }) };
          const said = { ...body, ...room, ...(path.startsWith('/plain') && { formToken }) };
          const init =
            method === 'GET'
              ? { headers }
              : kind === 'json'
                ? {
                    method,
                    headers: { ...headers, 'Content-Type': 'application/json' },
                    body: JSON.stringify(said),
                  }
                : { method, headers, body: new URLSearchParams(said) };
          const res = await fetch(`${url}${address}${method === 'GET' ? query : ''}`, {
            ...init,
            redirect: 'manual',
            signal: AbortSignal.timeout(5000),
          });
          const text = await res.text();
          const what = `${route} by ${kind}, ${cookie ? 'as a guest' : 'as nobody'}: ${res.status}`;
          expect({ what, text }).toEqual({ what, text: expect.not.stringContaining(SECRET) });
          expect({ what, text }).toEqual({ what, text: expect.not.stringContaining('Ada') });
          expect({ what, isPage: path.startsWith('/plain'), status: res.status }).toMatchObject(
            route === 'GET /plain/:room'
              ? { status: 200 }
              : { status: expect.toSatisfy((s: number) => [401, 403, 415].includes(s)) },
          );
          expect(res.headers.get('set-cookie') ?? '').not.toMatch(/throughline\.sid=s/);
        }
      }
    }
    expect(await (await guest.get('/api/session')).json()).toEqual({ user: null });
    const after = (await (await ada.get('/api/rooms/lobby')).json()) as { n: number; members: number };
    expect(after).toMatchObject({ n, members: 0 });
    expect(await (await ada.get('/api/rooms/lobby/people')).json()).toMatchObject({ count: 1 });
  });

  test.each(carriers)(
    'what a guest reads over $name ends, soon, and what a known user reads does not',
    async (carrier) => {
      const { url, shutGuestsOut } = await serve();
      const ada = await Person.byClaims(url, sign(said()));
      const guest = await Person.logIn(url);
      const { cursor } = await ada.history();
      const [hers, theirs] = [ada, guest].map((by) => carrier.follow(by, ['lobby'], cursor)) as [
        ReturnType<typeof carrier.follow>,
        ReturnType<typeof carrier.follow>,
      ];
      await guest.post('before');
      for (const follower of [hers, theirs])
        await waitFor('the first', () => follower.failure ?? follower.texts.length === 1);
      await shutGuestsOut();
      await waitFor(
        'the end',
        () => theirs.failure ?? theirs.events.some(({ kind }) => kind === 'bye'),
        4000,
      );
      await ada.post('after');
      await waitFor('the second', () => hers.failure ?? hers.texts.length === 2);
      expect(theirs.texts).toEqual(['before']);
      await theirs.done;
      const again = carrier.follow(guest, ['lobby'], cursor);
      await again.done;
      expect(again.failure).toBeDefined();
      await hers.cut();
    },
  );

  test('a page without script shows no form to log in by, nor a room', async () => {
    const { url, sites } = await serve();
    await sites.put({ ...newSite(MAIN), guests: 'refused' });
    const shown = async () => (await fetch(`${url}/plain/lobby`)).text();
    await waitFor('the change', async () => !(await shown()).includes('<form'), 3000);
    expect(await shown()).toMatch(/Log in on the site/);
  });
});

describe('rooms that the claims don’t open', () => {
  const closed = async () => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()));
    for (const room of ['den', 'attic']) expect((await ada.send('/api/rooms', { room })).status).toBe(201);
    const bob = await Person.byClaims(url, sign(said({ id: '43', name: 'Bob', rooms: ['den'] })));
    return { url, ada, bob };
  };

  test('are refused on every route, whether there is such a room or not', async () => {
    const { bob } = await closed();
    const code = async (asked: Promise<Response>) => {
      const res = await asked;
      return [res.status, ((await res.json()) as { error?: { code: string } }).error?.code];
    };
    for (const room of ['lobby', 'attic', 'nowhere']) {
      for (const asked of [
        bob.get(`/api/rooms/${room}`),
        bob.get(`/api/rooms/${room}/people`),
        bob.get(`/api/rooms/${room}/messages`),
        bob.send(`/api/rooms/${room}/messages`, { text: 'x' }),
        bob.send(`/api/rooms/${room}/join`, {}),
        bob.send(`/api/rooms/${room}/leave`, {}),
        bob.send('/api/rooms', { room }),
        bob.send('/api/confirm', { rooms: ['den', room] }),
        bob.get(`/api/stream?rooms=den,${room}`),
        bob.send('/api/stream', { rooms: [room] }),
        bob.get(`/api/poll?rooms=${room},den&wait=0`),
      ])
        expect([room, ...(await code(asked))]).toEqual([room, 403, 'room_forbidden']);
      for (const path of ['', '/live', '/proof?nonce=nnnnnnnnnnnnnnnnnnnnnn'])
        expect((await bob.get(`/plain/${room}${path}`)).status).toBe(403);
    }
    const { rooms } = (await (await bob.get('/api/rooms')).json()) as { rooms: { room: string }[] };
    expect(rooms.map(({ room }) => room)).toEqual(['den']);
    await bob.post('in', 'den');
    expect(await (await bob.get('/plain/den')).text()).not.toMatch(/attic/);
  });

  test.each(carriers)('are told nothing of over $name', async (carrier) => {
    const { ada, bob } = await closed();
    const { cursor } = await ada.history();
    await ada.post(SECRET, 'attic');
    for (const rooms of [['attic'], ['den', 'attic']]) {
      const follower = carrier.follow(bob, rooms, cursor);
      await follower.done;
      expect(follower.failure).toBeDefined();
      expect(follower.texts).toEqual([]);
    }
    const den = carrier.follow(bob, ['den'], cursor);
    await ada.post('hi', 'den');
    await waitFor('the message', () => den.failure ?? den.texts.length === 1);
    expect(den.texts).toEqual(['hi']);
    await den.cut();
  });

  test('stay shut to a token in a socket’s first frame', async () => {
    const { url } = await closed();
    const later = nowS();
    const claims = sign(said({ id: '44', rooms: ['den'], iat: later, exp: later + 60 }));
    const eve = await Person.byClaims(url, claims, 'main', '1');
    const [, , socket] = carriers as [never, never, (typeof carriers)[0]];
    const follower = socket.follow(eve, ['attic']);
    await follower.done;
    expect(follower.events).toEqual([{ kind: 'bye', code: 'room_forbidden' }]);
  });
});
