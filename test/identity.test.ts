import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import express from 'express';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { Claims, OpenRooms } from '../src/chat/claims.ts';
import type { RoomName } from '../src/chat/rooms.ts';
import { newSite, parseSite, type SiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { createThroughline, type Throughline } from '../src/library.ts';
import { Keys } from '../src/log/keys.ts';
import { KnownUsers } from '../src/log/known-users.ts';
import { SiteBook } from '../src/log/site-book.ts';
import { type RunningServer, startServer } from '../src/server.ts';
import { carriers } from './support/carriers.ts';
import { KEY, nowS, said, sign } from './support/claims.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const SHOP_ORIGIN = 'https://shop.example.org';
const SHOP_KEY = 'clk_Vf-XskmnEi6-yaP_dAcgoTV2YZ0Keq80InkSq2Xcbq4';

let redis: TestRedis;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await redis.stop();
});

const claimKeys = (secret: string) => [{ id: 'a', secret, createdAt: 1 }];

/** A service with the sites `main` and `shop`, both of which vouch for users. */
async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, overrides);
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  await sites.put(
    parseSite({ site: 'main', origins: ['https://www.example.org'], claimKeys: claimKeys(KEY) }),
  );
  await sites.put(parseSite({ site: 'shop', origins: [SHOP_ORIGIN], claimKeys: claimKeys(SHOP_KEY) }));
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  closing.push(...servers.map((server) => () => server.close()));
  const urls = servers.map(({ url }) => url);
  return { config, sites, urls, url: urls[0] as string };
}

/** Another process of the same service, by which the host speaks. */
async function hostOf(config: Config): Promise<Throughline> {
  const host = await createThroughline(config);
  closing.push(() => host.close());
  return host;
}

async function codeOf(res: Response): Promise<string> {
  return ((await res.json()) as { error: { code: string } }).error.code;
}

const exchange = (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/api/session`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

const byForm = (url: string, body: Record<string, string>, headers: Record<string, string> = {}) =>
  fetch(`${url}/api/session`, { method: 'POST', headers, body: new URLSearchParams(body) });

describe('claims are exchanged', () => {
  test('for a session in a cookie, by JSON and by form, and say who one is on the wire', async () => {
    const { url } = await serve();
    const avatar = 'https://www.example.org/42.png';
    const claims = sign(said({ role: 'moderator', avatar }));
    const user = { id: '42', name: 'Ada', guest: false, avatar, role: 'moderator' };
    for (const res of [
      await exchange(url, { claims }),
      await byForm(url, { claims }, { Origin: 'https://www.example.org' }),
    ]) {
      expect(res.status).toBe(201);
      expect(await res.json()).toMatchObject({ user, site: 'main', role: 'moderator', rooms: ['*'] });
      expect(res.headers.get('set-cookie')).toMatch(/^throughline\.sid=s%3A.*HttpOnly/);
    }
    const ada = await Person.byClaims(url, claims);
    await ada.post('hello');
    expect((await ada.history()).events.at(-1)?.['user']).toEqual(user);
    await ada.send('/api/confirm', { rooms: ['lobby'] });
    expect(await (await ada.get('/api/rooms/lobby/people')).json()).toMatchObject({ people: [user] });
  });

  test('as often as pages are loaded, by one session, and by a new one for another user', async () => {
    const { url } = await serve();
    const first = await exchange(url, { claims: sign(said()) });
    const cookie = first.headers.get('set-cookie')?.split(';')[0] as string;
    const again = await exchange(url, { claims: sign(said({ name: 'Ada L.' })) }, { Cookie: cookie });
    expect([again.status, again.headers.get('set-cookie')]).toEqual([200, null]);
    const who = async (Cookie: string) =>
      ((await (await fetch(`${url}/api/session`, { headers: { Cookie } })).json()) as { user: object }).user;
    expect(await who(cookie)).toMatchObject({ name: 'Ada L.' });
    const other = await exchange(url, { claims: sign(said({ id: '43' })) }, { Cookie: cookie });
    expect(other.status).toBe(201);
    const theirs = other.headers.get('set-cookie')?.split(';')[0] as string;
    expect(theirs).not.toBe(cookie);
    expect([await who(cookie), await who(theirs)]).toMatchObject([null, { id: '43' }]);
  });

  test('for a new session id also where a guest, or a page that planted a cookie, had one', async () => {
    const { url } = await serve();
    const guest = await Person.logIn(url);
    const res = await exchange(url, { claims: sign(said()) }, { Cookie: guest.cookie });
    expect(res.headers.get('set-cookie')?.split(';')[0]).not.toBe(guest.cookie);
    expect(await codeOf(await guest.get('/api/rooms'))).toBe('no_session');
  });

  test('for a token of a quarter of an hour, in a header or a body, and never in a URL', async () => {
    const { url } = await serve();
    const res = await exchange(url, { claims: sign(said()), token: '1' });
    expect([res.status, res.headers.get('set-cookie')]).toEqual([201, null]);
    const { token, expiresAt } = (await res.json()) as { token: string; expiresAt: number };
    expect(expiresAt - Date.now()).toBeLessThanOrEqual(900_000);
    expect(expiresAt - Date.now()).toBeGreaterThan(800_000);
    const headers = { Authorization: `Bearer ${token}` };
    expect((await fetch(`${url}/api/rooms`, { headers })).status).toBe(200);
    const body = new URLSearchParams({ token, text: 'by form', site: 'main' });
    // No Origin of ours, and no form token: another page could send neither of them along with the token.
    const foreign = { Origin: 'https://elsewhere.example' };
    const posted = await fetch(`${url}/api/rooms/lobby/messages`, { method: 'POST', body, headers: foreign });
    expect(posted.status).toBe(201);
    for (const query of [`token=${token}`, `access_token=${token}`, `claims=${sign(said())}`])
      expect(await codeOf(await fetch(`${url}/api/rooms?${query}`))).toBe('no_session');
    for (const wrong of [
      token.slice(0, -1),
      `${token}A`,
      token.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')),
      'tlt_x.y',
    ]) {
      const asked = await fetch(`${url}/api/rooms`, { headers: { Authorization: `Bearer ${wrong}` } });
      expect([asked.status, await codeOf(asked)]).toEqual([401, 'no_session']);
    }
    // It was used, so that it is known here; it is good in its own place alone, and a cookie in a cookie's.
    const asCookie = await fetch(`${url}/api/rooms`, { headers: { Cookie: `throughline.sid=${token}` } });
    expect(await codeOf(asCookie)).toBe('no_session');
    // Over at the time that was told, though the session is still kept here, and by Redis.
    const clock = vi.spyOn(Date, 'now').mockReturnValue(expiresAt);
    try {
      expect(await codeOf(await fetch(`${url}/api/rooms`, { headers }))).toBe('no_session');
    } finally {
      clock.mockRestore();
    }
    expect((await fetch(`${url}/api/rooms`, { headers })).status).toBe(200);
    const stored = await redis.client.keys('*:sess:bearer:*');
    for (const key of stored) expect(await redis.client.pttl(key)).toBeLessThanOrEqual(900_000);
    expect((await fetch(`${url}/api/session/end`, { method: 'POST', headers })).status).toBe(204);
    expect(await codeOf(await fetch(`${url}/api/rooms`, { headers }))).toBe('no_session');
  });

  test('for a cookie that a frame in another site’s page can keep, over https alone', async () => {
    const { url } = await serve({ trustProxy: 1 });
    const framed = async (path: string, scheme: string, Cookie = '') => {
      const res = await fetch(`${url}/api${path}?framed=1`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Forwarded-Proto': scheme, Cookie },
        body: JSON.stringify(path === '/session' ? { claims: sign(said()) } : {}),
      });
      return res.headers.get('set-cookie') ?? '';
    };
    const kept = await framed('/session', 'https');
    expect(kept).toMatch(/^throughline\.sid=s%3A/);
    for (const attribute of ['HttpOnly', 'Secure', 'Partitioned', 'SameSite=None'])
      expect(kept.split('; ')).toContain(attribute);
    const plain = await framed('/session', 'http');
    expect(plain.split('; ')).toContain('SameSite=Lax');
    expect(plain).not.toMatch(/Partitioned|None|Secure/);
    // Taken back as it was given, or another one would be.
    const taken = await framed('/session/end', 'https', kept.split(';')[0]);
    expect(taken).toMatch(/^throughline\.sid=;/);
    for (const attribute of ['Secure', 'Partitioned', 'SameSite=None'])
      expect(taken.split('; ')).toContain(attribute);
  });

  test('for a token, right behind which a socket may be confirmed', async () => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()), 'main', '1');
    const webSocket = new WebSocket(`${url.replace('http', 'ws')}/api/socket?rooms=lobby&token=1`);
    closing.push(async () => webSocket.terminate());
    await once(webSocket, 'open');
    webSocket.send(JSON.stringify({ kind: 'token', token: ada.token }));
    webSocket.send(JSON.stringify({ kind: 'confirm', rooms: ['lobby'] }));
    const people = async () =>
      ((await (await ada.get('/api/rooms/lobby/people')).json()) as { people: object[] }).people;
    expect(await waitFor('her', async () => (await people())[0])).toMatchObject({ id: '42' });
  });

  test('for no cookie in a token’s place, though it was shown as a cookie before', async () => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()));
    expect((await ada.get('/api/rooms')).status).toBe(200);
    const webSocket = new WebSocket(`${url.replace('http', 'ws')}/api/socket?rooms=lobby&token=1`);
    closing.push(async () => webSocket.terminate());
    await once(webSocket, 'open');
    const heard = once(webSocket, 'message');
    const token = decodeURIComponent(ada.cookie.split('=')[1] as string);
    webSocket.send(JSON.stringify({ kind: 'token', token }));
    expect(JSON.parse(String((await heard)[0]))).toMatchObject({ kind: 'bye' });
  });

  test.each(carriers)('for a token that $name takes', async (carrier) => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()), 'main', '1');
    const follower = carrier.follow(ada, ['lobby'], (await ada.history()).cursor);
    await ada.post('one');
    await waitFor('the message', () => follower.failure ?? follower.texts.length > 0);
    expect(follower.texts).toEqual(['one']);
    await follower.cut();
  });

  test('only if good, with nothing set and nobody logged in otherwise', async () => {
    const { url } = await serve();
    const [good, iat] = [said(), nowS()];
    for (const [body, status, code] of [
      [{ claims: `${sign(good)}0` }, 400, 'claims_malformed'],
      [{ claims: sign(good, SHOP_KEY) }, 401, 'claims_forged'],
      [{ claims: sign(said({ exp: iat - 100, iat: iat - 300 })) }, 401, 'claims_expired'],
      [{ claims: sign(said({ iat: iat + 100, exp: iat + 300 })) }, 401, 'claims_early'],
      [{ claims: sign(said({ exp: iat + 3600 })) }, 400, 'claims_too_long'],
      [{ claims: sign(said({ site: 'shop' })) }, 403, 'claims_wrong_site'],
      [{ claims: sign(good), site: 'shop' }, 401, 'claims_forged'],
      [{ claims: sign(good, SHOP_KEY), site: 'shop' }, 403, 'claims_wrong_site'],
      [{ claims: 'x'.repeat(5000) }, 413, 'claims_too_large'],
      [{ claims: 7 }, 400, 'invalid_field'],
      [{ claims: sign(good), name: 'Ada' }, 400, 'invalid_field'],
      [{ claims: sign(good), token: '2' }, 400, 'invalid_field'],
    ] as const) {
      const res = await exchange(url, body);
      expect([code, res.status, await codeOf(res)]).toEqual([code, status, code]);
      expect(res.headers.get('set-cookie')).toBeNull();
    }
  });
});

describe('pages', () => {
  test('of another origin than the site’s and the service’s can’t log anybody in', async () => {
    const { url } = await serve({ allowedOrigins: ['https://tools.example.org'] });
    const claims = sign(said());
    const statuses = async (Origin: string, site = 'main', key = KEY) => {
      const body = { claims: sign(said({ site }), key), site };
      return [(await exchange(url, body, { Origin })).status, (await byForm(url, body, { Origin })).status];
    };
    expect(await statuses('https://www.example.org')).toEqual([201, 201]);
    expect(await statuses(url)).toEqual([201, 201]);
    expect(await statuses(SHOP_ORIGIN, 'shop', SHOP_KEY)).toEqual([201, 201]);
    for (const [Origin, site, key] of [
      ['https://evil.example', 'main', KEY],
      ['null', 'main', KEY],
      [SHOP_ORIGIN, 'main', KEY],
      ['https://www.example.org', 'shop', SHOP_KEY],
      ['https://tools.example.org', 'main', KEY],
      ['http://www.example.org', 'main', KEY],
    ] as const) {
      expect([Origin, await statuses(Origin, site, key)]).toEqual([Origin, [403, 403]]);
    }
    expect((await exchange(url, { claims }, { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
    expect((await byForm(url, { claims })).status).toBe(403);
    const { token } = (await (await exchange(url, { claims, token: '1' })).json()) as { token: string };
    const withToken = { Origin: 'https://evil.example', Authorization: `Bearer ${token}` };
    expect((await exchange(url, { claims }, withToken)).status).toBe(403);
  });

  test('of a site may post and open sockets at it with its cookies, and at no other', async () => {
    const { url } = await serve();
    const people = {
      main: await Person.byClaims(url, sign(said())),
      shop: await Person.byClaims(url, sign(said({ site: 'shop' }), SHOP_KEY), 'shop'),
    };
    const socketStatus = (person: Person, Origin: string) =>
      new Promise((resolve) => {
        const address = person.address('/api/socket?rooms=lobby').replace(/^http/, 'ws');
        const socket = new WebSocket(address, { headers: { Cookie: person.cookie, Origin } });
        socket.once('unexpected-response', (_req, res) => resolve(res.statusCode));
        socket.once('open', () => {
          socket.terminate();
          resolve(101);
        });
      });
    const post = async (person: Person, Origin: string) =>
      (await person.send('/api/rooms/lobby/messages', { text: 'hi' }, { headers: { Origin } })).status;
    expect([await post(people.shop, SHOP_ORIGIN), await socketStatus(people.shop, SHOP_ORIGIN)]).toEqual([
      201, 101,
    ]);
    expect([await post(people.main, SHOP_ORIGIN), await socketStatus(people.main, SHOP_ORIGIN)]).toEqual([
      403, 403,
    ]);
  });

  test('of a site, and no others, may read its answers', async () => {
    const { url } = await serve();
    const asked = async (path: string, init: RequestInit) => {
      const { status, headers } = await fetch(url + path, init);
      expect(headers.get('vary')).toMatch(/\bOrigin\b/);
      return [
        status,
        headers.get('access-control-allow-origin'),
        headers.get('access-control-allow-credentials'),
      ];
    };
    const from = (Origin: string, more: object = {}) => ({ headers: { Origin, ...more } });
    const shared = [SHOP_ORIGIN, 'true'];
    expect(await asked('/api/rooms?site=shop', from(SHOP_ORIGIN))).toEqual([401, ...shared]);
    expect(await asked('/api/rooms', from(SHOP_ORIGIN))).toEqual([401, null, null]);
    expect(await asked('/api/rooms?site=nowhere', from(SHOP_ORIGIN))).toEqual([404, null, null]);
    expect(await asked('/api/rooms?site=shop', from('https://evil.example'))).toEqual([401, null, null]);
    expect(await asked('/api/rooms?site=shop', from('null'))).toEqual([401, null, null]);
    expect(await asked('/api/rooms?site=shop', {})).toEqual([401, null, null]);
    expect(await asked('/api/stream?rooms=lobby&site=shop', from(SHOP_ORIGIN))).toEqual([401, ...shared]);
    expect(await asked('/api/stream?rooms=lobby&site=shop', {})).toEqual([401, null, null]);
    const person = await Person.byClaims(url, sign(said({ site: 'shop' }), SHOP_KEY), 'shop');
    const stop = new AbortController();
    for (const [Origin, allowed] of [
      [SHOP_ORIGIN, SHOP_ORIGIN],
      ['https://evil.example', null],
    ] as const) {
      const init = { ...from(Origin), signal: stop.signal };
      const { status, headers } = await person.get('/api/stream?rooms=lobby', init);
      expect([status, headers.get('access-control-allow-origin')]).toEqual([200, allowed]);
    }
    stop.abort();
    const body = new URLSearchParams({ site: 'shop', claims: 'x' });
    expect(await asked('/api/session', { method: 'POST', body, ...from(SHOP_ORIGIN) })).toEqual([
      400,
      ...shared,
    ]);
    const preflight = {
      method: 'OPTIONS',
      ...from(SHOP_ORIGIN, {
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization',
      }),
    };
    const answer = await fetch(`${url}/api/stream?site=shop`, preflight);
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, SHOP_ORIGIN]);
    expect(answer.headers.get('access-control-allow-headers')).toMatch(/Authorization/);
    expect(answer.headers.get('access-control-allow-methods')).toBe('GET, POST');
    expect(await asked('/api/stream', preflight)).toEqual([405, null, null]);
  });
});

describe('guests', () => {
  test('are guests whatever they call themselves, and can’t bear the name of a known user', async () => {
    const { url } = await serve();
    const taken = await Person.logIn(url, 'Bob');
    await Person.byClaims(url, sign(said({ name: 'Ada' })));
    await Person.byClaims(url, sign(said({ id: '43', name: 'ADA' })));
    await Person.byClaims(url, sign(said({ id: '44', name: 'Bob' })));
    for (const name of ['Ada', 'aｄa', 'Bob']) await expect(Person.logIn(url, name)).rejects.toThrow('409');
    // Who was called so before is asked for another name.
    expect(await codeOf(await taken.send('/api/rooms/lobby/messages', { text: 'I am Bob' }))).toBe(
      'no_session',
    );
    const cy = await Person.logIn(url, 'Cy');
    expect(cy.user).toMatchObject({ guest: true, id: expect.stringMatching(/^guest-/) });
  });

  test('are counted beside known users, log-ins and posts', async () => {
    const { url } = await serve({ metricsToken: 'x'.repeat(20) });
    const guest = await Person.logIn(url);
    const ada = await Person.byClaims(url, sign(said()));
    await guest.post('a');
    await guest.post('b');
    await ada.post('c');
    const samples = await scrape(`${url}/metrics`, 'x'.repeat(20));
    expect(samples.get('throughline_posts_by_total{user="guest"}')).toBe(2);
    expect(samples.get('throughline_posts_by_total{user="known"}')).toBe(1);
    expect(samples.get('throughline_log_ins_total{user="guest"}')).toBe(1);
    expect(samples.get('throughline_log_ins_total{user="known"}')).toBe(1);
  });
});

describe('a revoked user', () => {
  test.each(carriers)(
    'is told nothing more over $name, on every process, within two seconds',
    async (carrier) => {
      const { config, urls } = await serve({}, 2);
      const host = await hostOf(config);
      const claims = sign(said());
      const ada = await Person.byClaims(urls[0] as string, claims);
      const bearer = await Person.byClaims(urls[0] as string, claims, 'main', '1');
      const bob = await Person.byClaims(urls[0] as string, sign(said({ id: '43', name: 'Bob' })));
      const { cursor } = await ada.history();
      const followers = urls.flatMap((url) =>
        [ada, bearer].map((by) => carrier.follow(by.at(url), ['lobby'], cursor)),
      );
      const stays = carrier.follow(bob, ['lobby'], cursor);
      await bob.post('before');
      for (const follower of [...followers, stays])
        await waitFor('the first message', () => follower.failure ?? follower.texts.length === 1);
      const at = performance.now();
      await host.revoke('42');
      for (const follower of followers) await follower.done;
      expect(performance.now() - at).toBeLessThan(2000);
      await bob.post('after');
      await waitFor('the other', () => stays.texts.length === 2);
      for (const follower of followers) expect(follower.texts).toEqual(['before']);
      for (const url of urls) {
        for (const by of [ada, bearer]) {
          expect(await codeOf(await by.at(url).get('/api/rooms'))).toBe('no_session');
          const post = await by.at(url).send('/api/rooms/lobby/messages', { text: 'x' });
          expect(await codeOf(post)).toBe('no_session');
        }
      }
      await stays.cut();
    },
  );

  test('comes back by claims made later, and not by those made before', async () => {
    const { config, url } = await serve();
    const host = await hostOf(config);
    const claims = sign(said());
    await Person.byClaims(url, claims);
    await host.revoke('42');
    const res = await exchange(url, { claims });
    expect([res.status, await codeOf(res)]).toEqual([401, 'claims_revoked']);
    const later = nowS() + 2;
    const ada = await Person.byClaims(url, sign(said({ iat: later, exp: later + 60 })));
    await ada.post('back');
    await host.revoke('never seen');
    await host.revoke('42', 'shop');
    await ada.post('still');
  });

  test('is revoked with what a clock dated ahead', async () => {
    const { config, url } = await serve();
    const host = await hostOf(config);
    const iat = nowS() + 40;
    const claims = sign(said({ iat, exp: iat + 60 }));
    const ada = await Person.byClaims(url, claims);
    await host.revoke('42');
    expect(await codeOf(await ada.get('/api/rooms'))).toBe('no_session');
    expect(await codeOf(await exchange(url, { claims }))).toBe('claims_revoked');
  });

  test('is revoked with what a clock dated ahead and nobody has shown yet, where the host says what time it is there', async () => {
    const { config, url } = await serve();
    const host = await hostOf(config);
    const iat = nowS() + 40;
    const claims = sign(said({ iat, exp: iat + 60 }));
    await host.revoke('42', 'main', iat);
    expect(await codeOf(await exchange(url, { claims }))).toBe('claims_revoked');
    for (const at of [nowS() + 120, 1.5, Number.NaN])
      await expect(host.revoke('42', 'main', at)).rejects.toMatchObject({
        code: 'invalid_field',
        details: { field: 'at' },
      });
  });

  test('has no session left that mere asking could keep alive', async () => {
    const { config, url } = await serve();
    const host = await hostOf(config);
    const ada = await Person.byClaims(url, sign(said()));
    const kept = () => redis.client.keys(`${config.namespace}:sess:*`);
    expect(await kept()).toHaveLength(1);
    await host.revoke('42');
    expect((await ada.send('/api/session', { nonsense: 1 })).status).toBe(400);
    expect(await kept()).toEqual([]);
  });

  test('who is a guest loses the session, and can be no guest’s log-in', async () => {
    const { config, url } = await serve();
    const host = await hostOf(config);
    const guest = await Person.logIn(url);
    await host.revoke(guest.user.id);
    expect(await codeOf(await guest.get('/api/rooms'))).toBe('no_session');
  });
});

describe('what the host says last of a user', () => {
  test('counts for all of the user’s sessions, and older claims don’t bring back what was', async () => {
    const { urls } = await serve({}, 2);
    const [here, there] = urls as [string, string];
    const iat = nowS();
    const before = sign(said({ role: 'admin', iat: iat - 5, exp: iat + 300 }));
    const ada = await Person.byClaims(here, before);
    await Person.byClaims(there, sign(said({ role: 'member', iat, exp: iat + 300 })));
    const roleAt = async (person: Person) =>
      ((await (await person.get('/api/session')).json()) as { user: { role?: string } }).user.role;
    await waitFor('the role', async () => (await roleAt(ada)) === undefined, 2000);
    const again = await exchange(here, { claims: before });
    expect(await again.json()).toMatchObject({ role: 'member' });
    expect(await roleAt(ada)).toBeUndefined();
  });

  test.each(carriers)('ends over $name what it no longer opens, and nothing else', async (carrier) => {
    const { urls } = await serve({}, 2);
    const [here, there] = urls as [string, string];
    const iat = nowS();
    const guest = await Person.logIn(here);
    expect((await guest.send('/api/rooms', { room: 'den' })).status).toBe(201);
    const claims = (rooms: string[], ago: number) => sign(said({ rooms, iat: iat - ago, exp: iat + 300 }));
    const ada = await Person.byClaims(here, claims(['*'], 9));
    const { cursor } = await ada.history();
    const den = carrier.follow(ada.at(there), ['lobby', 'den'], cursor);
    const lobby = carrier.follow(ada.at(there), ['lobby'], cursor);
    await guest.post('before', 'lobby');
    for (const follower of [den, lobby])
      await waitFor('the first', () => follower.failure ?? follower.texts.length === 1);
    await exchange(here, { claims: claims(['lobby'], 5) });
    await waitFor('the end', () => den.failure ?? den.events.some(({ kind }) => kind === 'bye'), 2000);
    if (den.failure === undefined) expect(den.events.at(-1)?.code).toBe('rights_changed');
    else expect(String(den.failure)).toMatch(/room_forbidden/);
    await guest.post('secret', 'den');
    await guest.post('after', 'lobby');
    await waitFor('the second', () => lobby.failure ?? lobby.texts.length === 2);
    expect(den.texts).toEqual(['before']);
    await Promise.all([den.cut(), lobby.cut()]);
  });
});

test('a change of rights that couldn’t be told is told by whoever comes next with the same claims', async () => {
  const config = testConfig(redis);
  const known = new KnownUsers(redis.client, new Keys(config.namespace, '{0}'), 60_000);
  const claims = (rooms: OpenRooms): Claims => ({
    user: { id: '42', name: 'Ada', guest: false },
    rooms,
    iat: nowS(),
  });
  const narrow = claims(['den' as RoomName]);
  expect(await known.admit('main/42', claims(undefined))).toBe('same');
  expect(await known.admit('main/42', narrow)).toBe('changed');
  expect(await known.admit('main/42', narrow)).toBe('changed');
  expect((await known.read('main/42')).claims).toEqual(narrow);
  await known.toldChange('main/42', claims(undefined));
  expect(await known.admit('main/42', narrow)).toBe('changed');
  await known.toldChange('main/42', narrow);
  expect(await known.admit('main/42', narrow)).toBe('same');
  expect((await known.read('main/42')).claims).toEqual(narrow);
});

test('what only looks like a token stands for nothing, and opens nothing to other pages', async () => {
  const { config, url } = await serve();
  const ada = await Person.byClaims(url, sign(said()));
  const evil = { Origin: 'https://evil.example.org', Cookie: ada.cookie };
  const post = (base: string, path: string, headers: Record<string, string>) =>
    fetch(`${base}/api${path}`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ text: 'hi', token: 'tlt_x' }),
    });
  for (const path of ['/session/end', '/rooms/lobby/messages', '/rooms/lobby/join']) {
    const res = await post(url, path, evil);
    expect([path, res.headers.get('set-cookie'), await codeOf(res)]).toEqual([path, null, 'origin_refused']);
  }
  expect((await ada.get('/api/rooms')).status).toBe(200);
  // Its own page may show a token and have a cookie: neither ends the other.
  const res = await post(url, '/session/end', { ...evil, Origin: url });
  expect([res.status, res.headers.get('set-cookie')]).toEqual([204, null]);
  // In an application that says itself who somebody is there are no tokens at all.
  const chat = await createThroughline({ ...config, user: () => ({ id: '7', name: 'Zoë' }) });
  const app = createServer(express().use('/chat', chat.router)).listen(0, '127.0.0.1');
  await once(app, 'listening');
  closing.push(
    async () => void app.close(),
    () => chat.close(),
  );
  const mounted = `http://127.0.0.1:${(app.address() as AddressInfo).port}/chat`;
  expect(await codeOf(await post(mounted, '/rooms/lobby/messages', evil))).toBe('origin_refused');
});

test('no token and no claims are ever logged, nor part of an address that is answered', async () => {
  const { config } = await serve();
  const lines = new PassThrough();
  const logged: string[] = [];
  lines.on('data', (chunk: Buffer) => logged.push(String(chunk)));
  const server = await startServer({ ...config, port: 0 }, pino({ level: 'trace' }, lines));
  closing.push(() => server.close());
  const claims = sign(said());
  const res = await exchange(server.url, { claims, token: '1' });
  const { token } = (await res.json()) as { token: string };
  const answers = [res];
  const headers = { Authorization: `Bearer ${token}` };
  for (const path of ['rooms', 'rooms/none/messages', 'session', 'poll?rooms=lobby&wait=0', 'nothing'])
    answers.push(await fetch(`${server.url}/api/${path}`, { headers, redirect: 'manual' }));
  answers.push(await exchange(server.url, { claims: `${claims}x` }));
  answers.push(await exchange(server.url, { claims: claims.replace('.', '..') }));
  const body = new URLSearchParams({ token, text: 'hi' });
  answers.push(await fetch(`${server.url}/api/rooms/lobby/messages`, { method: 'POST', body }));
  for (const answer of answers) {
    const told = JSON.stringify([...answer.headers]);
    expect(told).not.toContain(token);
    expect(told).not.toContain(claims);
  }
  await waitFor('the log', () => logged.join('').includes('/api/rooms/lobby/messages'));
  const [secretPart, signature] = [token.slice(4), claims.split('.')[1] as string];
  for (const secret of [token, secretPart, secretPart.split('.')[0] as string, claims, signature, KEY])
    expect(logged.join('')).not.toContain(secret);
});

test('a site with no key vouches for nobody', async () => {
  const { url, sites } = await serve();
  await sites.put(newSite('club' as SiteName));
  for (const key of ['', 'x', randomBytes(8).toString('hex')]) {
    const res = await exchange(url, { claims: sign(said({ site: 'club' }), key), site: 'club' });
    expect(await codeOf(res)).toBe('claims_forged');
  }
});
