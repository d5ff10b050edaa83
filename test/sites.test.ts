import { randomBytes } from 'node:crypto';
import express from 'express';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSite, parseSite, parseSiteName, type SiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { createThroughline } from '../src/library.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers } from './support/carriers.ts';
import { clientOf } from './support/client.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const SHOP = 'shop' as SiteName;
const CLUB = 'club' as SiteName;

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
});

/** A service with the sites `main`, `shop` and `club`. */
async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, overrides);
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  for (const site of [SHOP, CLUB]) await sites.put(newSite(site));
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  running.push(...servers);
  const urls = servers.map(({ url }) => url);
  return { config, sites, urls, url: urls[0] as string };
}

async function codeOf(res: Response): Promise<string> {
  return ((await res.json()) as { error: { code: string } }).error.code;
}

describe('a site', () => {
  test('is its name, and what is said of it in the form that is compared', () => {
    expect(parseSite({ site: 'shop' })).toEqual(newSite(SHOP));
    const origins = ['HTTPS://Shop.Example.org:443', 'https://shop.example.org', 'http://shop:8080'];
    expect(parseSite({ site: 'shop', origins }).origins).toEqual([
      'https://shop.example.org',
      'http://shop:8080',
    ]);
  });

  const key = (id: string) => ({ id, secret: 'x'.repeat(32), createdAt: 1 });
  test.each([
    [{ site: 'Shop' }, 'site'],
    [{ site: '../x' }, 'site'],
    [{ site: 'shop', origins: ['https://shop.example.org/'] }, 'origins.0'],
    [{ site: 'shop', origins: ['https://user@shop.example.org'] }, 'origins.0'],
    [{ site: 'shop', origins: ['null'] }, 'origins.0'],
    [{ site: 'shop', origins: ['ftp://shop.example.org'] }, 'origins.0'],
    [{ site: 'shop', guests: 'some' }, 'guests'],
    [{ site: 'shop', claimKeys: [key('a'), key('b'), key('c')] }, 'claimKeys'],
    [{ site: 'shop', claimKeys: [key('a'), key('a')] }, 'claimKeys'],
    [{ site: 'shop', claimKeys: [{ ...key('a'), secret: 'short' }] }, 'claimKeys.0.secret'],
    [{ site: 'shop', colour: 'red' }, 'colour'],
  ])('%j is none', (value, field) => {
    expect(() => parseSite(value)).toThrow(
      expect.objectContaining({ code: 'invalid_field', details: { field } }),
    );
  });
});

describe('the book of sites', () => {
  test('has main always, tells what was put, and forgets what was removed', async () => {
    const book = new SiteBook(redis.client, new Keys(`b${randomBytes(6).toString('hex')}`));
    const name = parseSiteName('shop');
    expect(await book.get(name)).toBeUndefined();
    await expect(book.mustGet(name)).rejects.toMatchObject({ code: 'no_site' });
    expect(await book.all()).toEqual([newSite(parseSiteName('main'))]);
    await book.put({ ...newSite(name), title: 'The shop' });
    await book.putNew(name);
    expect(await book.get(name)).toMatchObject({ title: 'The shop' });
    expect((await book.all()).map(({ site }) => site)).toEqual(['main', 'shop']);
    await book.remove(name);
    expect(await book.get(name)).toBeUndefined();
    await book.remove(parseSiteName('main'));
    expect(await book.get(parseSiteName('main'))).toEqual(newSite(parseSiteName('main')));
  });

  test('reads a site that a crowd asks for once, and a change of another process within 1.5 s', async () => {
    const keys = new Keys(`b${randomBytes(6).toString('hex')}`);
    let reads = 0;
    const counting = new Proxy(redis.client, {
      get: (client, name) => {
        if (name === 'hget') reads++;
        const value = Reflect.get(client, name, client) as unknown;
        return typeof value === 'function' ? value.bind(client) : value;
      },
    });
    const [book, other] = [new SiteBook(counting, keys), new SiteBook(redis.client, keys)];
    await other.put(newSite(SHOP));
    await Promise.all(Array.from({ length: 100 }, () => book.get(SHOP)));
    expect(reads).toBe(1);
    await other.put({ ...newSite(SHOP), guests: 'refused' });
    await waitFor('the change', async () => (await book.get(SHOP))?.guests === 'refused', 2000);
  });
});

describe('sites don’t see each other’s', () => {
  test('rooms, messages, names and people, though all are named alike', async () => {
    const { url } = await serve();
    const people: Person[] = [];
    for (const site of ['main', 'shop', 'club']) people.push(await Person.logIn(url, 'Ada', site));
    for (const [i, person] of people.entries()) {
      expect((await person.send('/api/rooms', { room: 'den', title: `Den ${i}` })).status).toBe(201);
      await person.post(`in ${person.site}`, 'den');
      await person.send('/api/confirm', { rooms: ['den'] });
    }
    for (const [i, person] of people.entries()) {
      const { events } = await person.history('', 'den');
      expect(events).toMatchObject([{ text: `in ${person.site}`, n: 1, user: person.user }]);
      const { rooms } = (await (await person.get('/api/rooms')).json()) as { rooms: object[] };
      expect(rooms).toMatchObject([{ room: 'den', title: `Den ${i}`, members: 1 }, { room: 'lobby' }]);
      const here = await (await person.get('/api/rooms/den/people')).json();
      expect(here).toMatchObject({ count: 1, people: [person.user] });
    }
    await expect(Person.logIn(url, 'ada', 'shop')).rejects.toThrow('409');
    await people[0]?.send('/api/rooms', { room: 'mine' });
    expect(await codeOf((await people[1]?.get('/api/rooms/mine')) as Response)).toBe('room_not_found');
    const posted = await people[1]?.send('/api/rooms/mine/messages', { text: 'hi' });
    expect(await codeOf(posted as Response)).toBe('room_not_found');
  });

  test.each(carriers)('streams, over $name', async (carrier) => {
    const { url } = await serve();
    const people: Person[] = [];
    for (const site of ['main', 'shop']) people.push(await Person.logIn(url, 'Ada', site));
    const followers = [];
    for (const person of people)
      followers.push(carrier.follow(person, ['lobby'], (await person.history()).cursor));
    for (let i = 0; i < 10; i++) for (const person of people) await person.post(`${person.site} ${i}`);
    for (const [i, follower] of followers.entries()) {
      await waitFor('all of its own', () => follower.failure ?? follower.texts.length >= 10);
      expect(follower.texts).toEqual(Array.from({ length: 10 }, (_, k) => `${people[i]?.site} ${k}`));
      await follower.cut();
    }
  });

  test('posts under one clientId', async () => {
    const { url } = await serve();
    const clientId = randomBytes(12).toString('hex');
    const [a, b] = [await Person.logIn(url, 'A', 'shop'), await Person.logIn(url, 'A', 'club')];
    expect(await a.post('one', 'lobby', clientId)).not.toBe(await b.post('another', 'lobby', clientId));
  });

  test('users of the same id, whom a host application vouches for', async () => {
    const config = testConfig(redis);
    const user = () => ({ id: '7', name: 'Seven' });
    const chats = [];
    for (const site of [undefined, 'shop'])
      chats.push(await createThroughline({ ...config, user, ...(site && { site }) }));
    const apps = chats.map(({ router }) => request(express().use(router)));
    const [inMain, inShop] = apps as [(typeof apps)[0], (typeof apps)[0]];
    await inMain.post('/api/rooms').send({ room: 'den' }).expect(201);
    await inMain.post('/api/rooms/den/messages').send({ text: 'mine' }).expect(201);
    await inShop.get('/api/rooms/den').expect(404);
    const { body } = await inShop.get('/api/rooms').expect(200);
    expect(body.rooms).toMatchObject([{ room: 'lobby', isMember: false }]);
    await inShop.get('/api/rooms?site=shop').expect(200);
    const { body: refused } = await inShop.get('/api/rooms?site=main').expect(404);
    expect(refused.error.code).toBe('no_site');
    await Promise.all(chats.map((chat) => chat.close()));
  });
});

describe('a request', () => {
  test('names its site in the query or in its body, JSON or form; none is main', async () => {
    const { url } = await serve();
    const cookieOf = async ([query, body, type]: readonly [string, string, string]) => {
      const headers = { 'Content-Type': type, Origin: url };
      const res = await fetch(`${url}/api/session${query}`, { method: 'POST', headers, body });
      return [res.status, res.headers.get('set-cookie')?.split('=')[0]];
    };
    const form = 'application/x-www-form-urlencoded';
    expect(await cookieOf(['', '{"name":"a"}', 'application/json'])).toEqual([201, 'throughline.sid']);
    expect(await cookieOf(['?site=main', '{"name":"b"}', 'application/json'])).toEqual([
      201,
      'throughline.sid',
    ]);
    for (const asked of [
      ['?site=shop', '{"name":"c"}', 'application/json'],
      ['', '{"name":"d","site":"shop"}', 'application/json'],
      ['', 'name=e&site=shop', form],
      ['?site=shop', 'name=f', form],
    ] as const)
      expect(await cookieOf(asked)).toEqual([201, 'throughline.sid.shop']);
  });

  test.each(['site=', 'site=Shop', 'site=a%2Fb', 'site=shop&site=club', `site=${'x'.repeat(65)}`])(
    '%s is refused as malformed',
    async (query) => {
      const { url } = await serve();
      const res = await fetch(`${url}/api/rooms?${query}`);
      expect([res.status, await codeOf(res)]).toEqual([400, 'invalid_field']);
    },
  );

  test('of a site that there isn’t is refused on every route, and gets no cookie', async () => {
    const { url } = await serve();
    const nobody = Person.nobody(url, 'elsewhere');
    const asked = [
      nobody.get('/api/session'),
      nobody.send('/api/session', { name: 'Ada' }),
      nobody.send('/api/session/end', {}),
      nobody.get('/api/rooms'),
      nobody.send('/api/rooms', { room: 'x' }),
      nobody.get('/api/rooms/lobby'),
      nobody.send('/api/rooms/lobby/join', {}),
      nobody.get('/api/rooms/lobby/people'),
      nobody.get('/api/rooms/lobby/messages'),
      nobody.send('/api/rooms/lobby/messages', { text: 'hi' }),
      nobody.get('/api/stream?rooms=lobby'),
      nobody.get('/api/poll?rooms=lobby'),
      nobody.send('/api/confirm', {}),
    ];
    for (const answer of asked) {
      const res = await answer;
      expect([res.url, res.status, await codeOf(res)]).toEqual([res.url, 404, 'no_site']);
      expect(res.headers.get('set-cookie')).toBeNull();
    }
    expect((await fetch(`${url}/plain/lobby?site=shop`)).status).toBe(404);
  });
});

describe('a browser', () => {
  test('is logged in at several sites at once, as somebody in each, and logs out of one', async () => {
    const { url } = await serve();
    const people: Person[] = [];
    for (const site of ['main', 'shop', 'club']) people.push(await Person.logIn(url, `at ${site}`, site));
    const cookie = people.map((person) => person.cookie).join('; ');
    const whoAt = async (site: string) => {
      const res = await fetch(`${url}/api/session?site=${site}`, { headers: { Cookie: cookie } });
      return ((await res.json()) as { user: { name: string } | null }).user?.name;
    };
    for (const { site } of people) expect(await whoAt(site)).toBe(`at ${site}`);
    const res = await fetch(`${url}/api/session/end?site=shop`, {
      method: 'POST',
      headers: { Cookie: cookie },
    });
    expect(res.status).toBe(204);
    expect(res.headers.get('set-cookie')).toMatch(/^throughline\.sid\.shop=;/);
    expect([await whoAt('main'), await whoAt('shop'), await whoAt('club')]).toEqual([
      'at main',
      undefined,
      'at club',
    ]);
  });

  test('can’t use the session of one site at another, nor end it there', async () => {
    const { url } = await serve();
    const ada = await Person.logIn(url, 'Ada', 'shop');
    const value = ada.cookie.slice(ada.cookie.indexOf('=') + 1);
    for (const [site, name] of [
      ['club', 'throughline.sid.club'],
      ['main', 'throughline.sid'],
    ] as const) {
      const headers = { Cookie: `${name}=${value}` };
      const res = await fetch(`${url}/api/rooms?site=${site}`, { headers });
      expect(await codeOf(res)).toBe('no_session');
      await fetch(`${url}/api/session/end?site=${site}`, { method: 'POST', headers });
    }
    expect((await ada.get('/api/rooms')).status).toBe(200);
  });
});

test('guests who aren’t wanted can’t log in, also once the site says so later', async () => {
  const { url, sites } = await serve();
  await Person.logIn(url, 'Ada', 'shop');
  await sites.put({ ...newSite(SHOP), guests: 'refused' });
  const logIn = () => Person.nobody(url, 'shop').send('/api/session', { name: 'Bob' });
  await waitFor('the change', async () => (await logIn()).status === 403, 3000);
  expect(await codeOf(await logIn())).toBe('guests_refused');
  await Person.logIn(url, 'Bob', 'club');
});

test('the end of a session ends what it reads, on every process, and nobody else’s', async () => {
  const { urls } = await serve({}, 2);
  const [here, there] = urls as [string, string];
  const ada = await Person.logIn(here, 'Ada', 'shop');
  const other = await Person.logIn(here, 'Ada', 'club');
  const [stream] = carriers as [(typeof carriers)[0]];
  const ended = stream.follow(ada.at(there), ['lobby']);
  const stays = stream.follow(other.at(there), ['lobby']);
  for (const follower of [ended, stays]) await waitFor('hello', () => follower.all.length > 0);
  expect((await ada.send('/api/session/end', {})).status).toBe(204);
  await ended.done;
  expect(ended.events.at(-1)?.code).toBe('session_ended');
  await other.post('still here');
  await waitFor('the other', () => stays.texts.length > 0);
  await stays.cut();
});

test('a site’s lobby is there again after Redis lost everything but what the operator put back', async () => {
  const own = await startTestRedis();
  const config = testConfig(own);
  const sites = new SiteBook(own.client, new Keys(config.namespace));
  await sites.put(newSite(SHOP));
  const server = await startTestServer(config);
  try {
    await (await Person.logIn(server.url, 'Ada', 'shop')).post('before');
    await own.client.multi().flushall().exec();
    await sites.put(newSite(SHOP));
    const ada = await waitFor('a log-in', () =>
      Person.logIn(server.url, undefined, 'shop').catch(() => undefined),
    );
    await waitFor('the lobby', async () => (await ada.get('/api/rooms/lobby')).ok);
    await ada.post('anew');
  } finally {
    await server.close();
    await own.stop();
  }
});

describe('the client', () => {
  test.each(['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'] as const)(
    'talks in its site over %s',
    async (carrier) => {
      const { url } = await serve();
      const [ada, other] = [await Person.logIn(url, 'Ada', 'shop'), await Person.logIn(url, 'Ada', 'club')];
      const client = clientOf(ada, { carriers: [carrier], site: 'shop' });
      const told: string[] = [];
      client.on('message', ({ text }) => told.push(text));
      expect((await client.whoAmI())?.id).toBe(ada.user.id);
      await client.connect(['lobby']);
      await other.post('in the club');
      client.post('lobby', 'in the shop');
      await waitFor('its own', () => told.length > 0);
      await ada.post('in the shop, too');
      await waitFor('both', () => told.length > 1);
      expect(told).toEqual(['in the shop', 'in the shop, too']);
      client.close();
    },
  );
});
