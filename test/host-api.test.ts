import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Scope } from '../src/chat/api-keys.ts';
import { SCOPES } from '../src/chat/api-keys.ts';
import type { ClosedEntry } from '../src/chat/entries.ts';
import { signClaims } from '../src/chat/sign-claims.ts';
import { MAIN_SITE, newSite, parseSiteName, type SiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { ApiKeys } from '../src/log/api-keys.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const SHOP = parseSiteName('shop');
const CLAIM_KEY = { id: 'one', secret: `clk_${'k'.repeat(43)}`, createdAt: 1 };

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
});

/** A service with a site besides main, and who asks it with an API key. */
async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, overrides);
  const keys = new Keys(config.namespace);
  await new SiteBook(redis.client, keys).put({ ...newSite(SHOP), claimKeys: [CLAIM_KEY] });
  const server = await startTestServer(config);
  running.push(server);
  const book = new ApiKeys(redis.client, keys);
  const hostOf = async (site: SiteName, scopes: readonly Scope[] = SCOPES, name = 'Orders') => {
    const { secret, key } = await book.create(site, { name, scopes });
    return { key, secret, ...asking(server.url, secret) };
  };
  return { config, url: server.url, book, hostOf };
}

function asking(url: string, secret: string) {
  const headers = { Authorization: `Bearer ${secret}`, 'Content-Type': 'application/json' };
  const read = async (res: Response) => [res.status, await res.json()] as [number, Record<string, unknown>];
  return {
    get: async (path: string) => read(await fetch(url + path, { headers })),
    send: async (path: string, body: unknown, more: Record<string, string> = {}) =>
      read(
        await fetch(url + path, {
          method: 'POST',
          headers: { ...headers, ...more },
          body: JSON.stringify(body),
        }),
      ),
  };
}

function textOf(res: Response): ReadableStreamDefaultReader<string> {
  const decoder = new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>;
  return (res.body as ReadableStream<Uint8Array>).pipeThrough(decoder).getReader();
}

function codeOf([status, body]: [number, Record<string, unknown>]): unknown[] {
  return [status, (body['error'] as { code?: string } | undefined)?.code];
}

describe('an API key', () => {
  test('is kept without its secret, and lets in until it is revoked', async () => {
    const { hostOf, book, config } = await serve();
    const { secret, key, get } = await hostOf(SHOP);
    const kept = await redis.client.hgetall(`${config.namespace}:keys`);
    expect(Object.keys(kept)).toEqual([key.id]);
    expect(JSON.stringify(kept)).not.toContain(secret.slice(-43));
    expect((await get('/api/rooms'))[0]).toBe(200);
    expect(await book.list(SHOP)).toEqual([key]);
    expect(await book.list(MAIN_SITE)).toEqual([]);
    const untold = book.revoke(key.id, () => Promise.reject(new Error('no Redis')));
    await expect(untold).rejects.toThrow('no Redis');
    expect(codeOf(await get('/api/rooms'))).toEqual([401, 'api_key_unknown']);
    const told: unknown[] = [];
    const tell = async (revoked: unknown) => void told.push(revoked);
    expect(await book.revoke(key.id, tell)).toEqual(key);
    expect(told).toEqual([key]);
    expect(codeOf(await get('/api/rooms'))).toEqual([401, 'api_key_unknown']);
    expect(await book.revoke(key.id, tell)).toBeUndefined();
  });

  test('that is wrong in one character is none, wherever that is', async () => {
    const { hostOf, url } = await serve();
    const { secret } = await hostOf(SHOP);
    const last = secret.at(-1) === 'A' ? 'E' : 'A';
    const middle = secret[6] === 'a' ? 'b' : 'a';
    for (const wrong of [
      secret.slice(0, -1) + last,
      secret.slice(0, 6) + middle + secret.slice(7),
      `${secret}A`,
      'tlk_',
      'tlk_000000000000_',
    ])
      expect(codeOf(await asking(url, wrong).get('/api/rooms'))).toEqual([401, 'api_key_unknown']);
  });

  test.each([
    ['history', '/api/rooms', undefined],
    ['history', '/api/rooms/lobby', undefined],
    ['history', '/api/rooms/lobby/messages', undefined],
    ['history', '/api/stream?rooms=lobby', undefined],
    ['post', '/api/rooms/lobby/messages', { text: 'hi' }],
    ['rooms', '/api/rooms', { room: 'den' }],
    ['rooms', '/api/rooms/lobby/close', {}],
    ['rooms', '/api/rooms/lobby/members', { add: ['7'] }],
    ['tokens', '/api/tokens', { id: '7', name: 'Seven' }],
    ['revoke', '/api/users/7/revoke', {}],
  ] as const)('without the scope %s is refused at %s', async (scope, path, body) => {
    const { hostOf } = await serve();
    const { get, send } = await hostOf(
      SHOP,
      SCOPES.filter((other) => other !== scope),
    );
    expect(codeOf(body ? await send(path, body) : await get(path))).toEqual([403, 'scope_missing']);
  });

  test('is good for its own site alone', async () => {
    const { hostOf } = await serve();
    const { get, send } = await hostOf(SHOP);
    expect(codeOf(await get('/api/rooms?site=main'))).toEqual([404, 'no_site']);
    expect(codeOf(await send('/api/rooms/lobby/messages', { text: 'x', site: 'main' }))).toEqual([
      404,
      'no_site',
    ]);
    expect((await send('/api/rooms/lobby/messages?site=shop', { text: 'x' }))[0]).toBe(201);
  });

  test('lets nobody log in, and needs no Origin', async () => {
    const { hostOf } = await serve();
    const { get, send } = await hostOf(SHOP);
    expect(codeOf(await send('/api/session', { name: 'Ada' }))).toEqual([404, 'not_found']);
    expect(codeOf(await get('/api/session'))).toEqual([404, 'not_found']);
    const foreign = { Origin: 'https://elsewhere.example' };
    expect((await send('/api/rooms/lobby/messages', { text: 'x' }, foreign))[0]).toBe(201);
  });

  test('that asks too fast is told when to come again', async () => {
    const { hostOf } = await serve({ apiKeyBurst: 2, apiKeyRequestsPerSecond: 1 });
    const [busy, other] = [await hostOf(SHOP), await hostOf(SHOP)];
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await busy.get('/api/rooms'));
    const refused = answers.find(([status]) => status === 429);
    expect(refused?.[1]).toMatchObject({ error: { code: 'too_fast', retryAfter: expect.any(Number) } });
    expect((await other.get('/api/rooms'))[0]).toBe(200);
  });

  test('is asked for where nothing else will do', async () => {
    const { url } = await serve();
    const ada = await Person.logIn(url, 'Ada', 'shop');
    for (const path of [
      '/api/tokens',
      '/api/users/7/revoke',
      '/api/rooms/lobby/close',
      '/api/rooms/lobby/members',
    ]) {
      const res = await ada.send(path, {});
      expect(codeOf([res.status, await res.json()])).toEqual([401, 'api_key_unknown']);
    }
  });
});

describe('a host’s server', () => {
  test('posts as a bot or as the system, which readers hear on every carrier', async () => {
    const { hostOf, url } = await serve();
    const { send } = await hostOf(SHOP);
    const ada = await Person.logIn(url, 'Ada', 'shop');
    const { cursor } = await ada.history();
    const followers = carriers.map((carrier) => carrier.follow(ada, ['lobby'], cursor));
    expect((await send('/api/rooms/lobby/messages', { text: 'paid' }))[0]).toBe(201);
    expect((await send('/api/rooms/lobby/messages', { text: 'sent', name: 'Post' }))[0]).toBe(201);
    expect((await send('/api/rooms/lobby/messages', { text: 'down', as: 'system' }))[0]).toBe(201);
    const wanted = [
      { text: 'paid', user: { id: 'bot:Orders', name: 'Orders', guest: false, bot: true } },
      { text: 'sent', user: { id: 'bot:Post', name: 'Post', guest: false, bot: true } },
      { text: 'down', user: { id: 'system', name: 'System', guest: false, bot: true } },
    ];
    for (const follower of followers) {
      await waitFor('all three', () => follower.failure ?? follower.texts.length >= 3);
      expect(follower.events).toMatchObject(wanted);
      await follower.cut();
    }
    expect((await ada.history()).events).toMatchObject(wanted);
  });

  test('says a thing once, however often it is sent, and not another under the same key', async () => {
    const { hostOf, url } = await serve();
    const { send } = await hostOf(SHOP);
    const idempotent = { 'Idempotency-Key': 'order-4711-is-paid' };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => send('/api/rooms/lobby/messages', { text: 'paid' }, idempotent)),
    );
    expect(answers.map(([status]) => status).sort()).toEqual([200, 200, 200, 200, 200, 200, 200, 201]);
    expect(new Set(answers.map(([, { id }]) => id)).size).toBe(1);
    const another = await send('/api/rooms/lobby/messages', { text: 'unpaid' }, idempotent);
    expect(codeOf(another)).toEqual([409, 'client_id_reused']);
    const clientId = 'order-4711-is-paid';
    expect((await send('/api/rooms/lobby/messages', { text: 'paid', clientId }))[0]).toBe(200);
    const ada = await Person.logIn(url, 'Ada', 'shop');
    expect((await ada.history()).events).toHaveLength(1);
  });

  test.each([
    [{ text: '' }, 'text'],
    [{ text: 'x', as: 'admin' }, 'as'],
    [{ text: 'x', name: 'a\u202eb' }, 'name'],
    [{ text: 'x', user: 7 }, 'user'],
    [{ text: 'x', clientId: 'short' }, 'clientId'],
  ])('is told what is wrong with %j', async (body, field) => {
    const { hostOf } = await serve();
    const [status, answer] = await (await hostOf(SHOP)).send('/api/rooms/lobby/messages', body);
    expect([status, answer['error']]).toMatchObject([400, { code: 'invalid_field', field }]);
  });

  test('creates rooms and closes them: they can be read, and nothing can be said there', async () => {
    const { hostOf, url } = await serve();
    const { send, get } = await hostOf(SHOP);
    const ada = await Person.logIn(url, 'Ada', 'shop');
    const [status, room] = await send('/api/rooms', { room: 'order-1', title: 'Order 1' });
    expect([status, room]).toMatchObject([201, { room: 'order-1', title: 'Order 1', members: 0 }]);
    expect(codeOf(await send('/api/rooms', { room: 'order-1' }))).toEqual([409, 'room_exists']);
    expect(await send('/api/rooms', { room: 'order-1', title: 'Order 1' })).toEqual([200, room]);
    const other = await (await hostOf(SHOP)).send('/api/rooms', { room: 'order-1', title: 'Order 1' });
    expect(codeOf(other)).toEqual([409, 'room_exists']);
    const clientId = 'the-last-word-of-ada';
    const id = await ada.post('last word', 'order-1', clientId);
    const [stream] = carriers as [(typeof carriers)[0]];
    const follower = stream.follow(ada, ['order-1']);
    await waitFor('hello', () => follower.all.length > 0);
    expect((await send('/api/rooms/order-1/close', {}))[1]).toMatchObject({ closed: true, n: 1 });
    expect((await send('/api/rooms/order-1/close', {}))[0]).toBe(200);
    await follower.cut();
    const refused = await ada.send('/api/rooms/order-1/messages', { text: 'one more' });
    expect(codeOf([refused.status, await refused.json()])).toEqual([403, 'room_closed']);
    expect(codeOf(await send('/api/rooms/order-1/messages', { text: 'x' }))).toEqual([403, 'room_closed']);
    expect(await ada.post('last word', 'order-1', clientId)).toBe(id);
    expect((await ada.history('', 'order-1')).events).toMatchObject([{ text: 'last word' }]);
    expect((await get('/api/rooms/order-1/messages'))[1]).toMatchObject({ events: [{ text: 'last word' }] });
    expect(await (await ada.get('/api/rooms/order-1')).json()).toMatchObject({ closed: true });
    expect(codeOf(await send('/api/rooms/nowhere/close', {}))).toEqual([404, 'room_not_found']);
  });

  test('closes a room in front of its readers', async () => {
    const { hostOf, url } = await serve();
    const { send } = await hostOf(SHOP);
    const ada = await Person.logIn(url, 'Ada', 'shop');
    const controller = new AbortController();
    const res = await ada.get('/api/stream?rooms=lobby', { signal: controller.signal });
    const reader = textOf(res);
    let told = (await reader.read()).value ?? '';
    expect((await send('/api/rooms/lobby/close', {}))[0]).toBe(200);
    while (!/^event: closed$/m.test(told)) told += (await reader.read()).value ?? '';
    const data = /^data: (\{"kind":"closed".*\})$/m.exec(told)?.[1] as string;
    const closed: Partial<ClosedEntry> = JSON.parse(data);
    expect(closed).toEqual({
      kind: 'closed',
      room: 'lobby',
      id: expect.stringMatching(/^\d+-\d+$/),
      at: expect.any(Number),
    });
    controller.abort();
  });

  test('makes members and unmakes them; what it made outlasts their log-out', async () => {
    const { hostOf, url } = await serve();
    const { send } = await hostOf(SHOP);
    const members = async (change: object) => (await send('/api/rooms/lobby/members', change))[1];
    expect(await members({ add: ['7', '8'] })).toMatchObject({ members: 2 });
    expect(await members({ add: ['8', '9'], remove: ['7'] })).toMatchObject({ members: 2 });
    const ada = await Person.logIn(url, 'Ada', 'shop');
    await ada.send('/api/rooms/lobby/join', {});
    expect(await members({})).toMatchObject({ members: 3 });
    await ada.send('/api/session/end', {});
    expect(await members({ remove: ['7'] })).toMatchObject({ members: 2 });
    const refused = await send('/api/rooms/lobby/members', { add: ['guest-7'] });
    expect(codeOf(refused)).toEqual([400, 'invalid_field']);
  });

  test('follows a room by its key, until the key is revoked', async () => {
    const { hostOf, url } = await serve();
    const { send, get, secret } = await hostOf(SHOP);
    await send('/api/rooms/lobby/messages', { text: 'before' });
    const [, page] = await get('/api/rooms/lobby/messages');
    const res = await fetch(`${url}/api/stream?rooms=lobby&after=${page['cursor']}`, {
      headers: { Authorization: `Bearer ${secret}` },
    });
    const reader = textOf(res);
    await send('/api/rooms/lobby/messages', { text: 'after' });
    let told = '';
    while (!told.includes('"text":"after"')) told += (await reader.read()).value ?? '';
    expect(told).not.toContain('before');
    await reader.cancel();
  });

  test('gets claims signed that the site’s key proves', async () => {
    const { hostOf } = await serve();
    const { send } = await hostOf(SHOP);
    const [status, { claims, exp }] = await send('/api/tokens', {
      id: '7',
      name: 'Zoë',
      rooms: ['lobby'],
      ttl: 60,
    });
    expect(status).toBe(200);
    const [payload = '', signature] = String(claims).split('.');
    expect(createHmac('sha256', CLAIM_KEY.secret).update(payload).digest('hex')).toBe(signature);
    const told = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const iat = Number(told['iat']);
    expect(told).toEqual({ site: 'shop', id: '7', name: 'Zoë', role: 'member', rooms: ['lobby'], iat, exp });
    expect(exp).toBe(iat + 60);
    for (const wrong of [
      { id: 'guest-1', name: 'G' },
      { id: 'system', name: 'S' },
      { id: '7', name: 'S', ttl: 601 },
      { id: '7', name: 'S', role: 'owner' },
      { id: '7', name: 'S', avatar: 'javascript:alert(1)' },
      { id: '7', name: 'S', avatar: '//elsewhere.example/x.png' },
      { id: '7', name: 'S', rooms: ['../x'] },
    ])
      expect(codeOf(await send('/api/tokens', wrong))).toEqual([400, 'invalid_field']);
    const inMain = await hostOf(MAIN_SITE);
    expect(codeOf(await inMain.send('/api/tokens', { id: '7', name: 'S' }))).toEqual([409, 'no_claim_key']);
  });

  test('revokes what it said of a user, which every process is told', async () => {
    const { hostOf, config } = await serve();
    const { send } = await hostOf(SHOP);
    const [status, { revokedAt }] = await send('/api/users/7%2F8/revoke', {});
    expect(status).toBe(200);
    expect(Math.abs(Number(revokedAt) - Date.now() / 1000)).toBeLessThan(5);
    const tag = `${config.namespace}:{0}`;
    expect(await redis.client.get(`${tag}:revoked:shop/7/8`)).toBe(String(revokedAt));
    const [[, fields] = []] = await redis.client.xrevrange(`${tag}:journal`, '+', '-', 'COUNT', 1);
    expect(fields).toEqual(expect.arrayContaining(['to', 'user:shop/7/8', 'kind', 'revoke']));
  });
});

test('claims are signed the same as in any other language', () => {
  const claims = { site: 'main', id: '7', name: 'Zoë', role: 'member', rooms: ['*'], iat: 1, exp: 2 };
  const signed = signClaims(claims, 'clk_test');
  const payload =
    'eyJzaXRlIjoibWFpbiIsImlkIjoiNyIsIm5hbWUiOiJab8OrIiwicm9sZSI6Im1lbWJlciIsInJvb21zIjpbIioiXSwiaWF0IjoxLCJleHAiOjJ9';
  expect(signed).toBe(`${payload}.${createHmac('sha256', 'clk_test').update(payload).digest('hex')}`);
});
