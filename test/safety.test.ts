import { createHmac, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSite } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { createThroughline } from '../src/library.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import { redirectTo } from '../src/server.ts';
import { KEY, said, sign } from './support/claims.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { routesOf } from './support/routes.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';

const EVIL = 'https://evil.example';
const SHOP_ORIGIN = 'https://shop.example.org';

let redis: TestRedis;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await redis.stop();
});

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaPublic = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string;

/** A service with the sites `main`, whose claims are signed by HMAC, and `shop`, whose are signed by RSA. */
async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, overrides);
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  await sites.put(parseSite({ site: 'main', claimKeys: [{ id: 'a', secret: KEY, createdAt: 1 }] }));
  await sites.put(parseSite({ site: 'shop', origins: [SHOP_ORIGIN], jwt: { publicKey: rsaPublic } }));
  const server = await startTestServer(config);
  closing.push(() => server.close());
  return { config, url: server.url };
}

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('claims that nobody signed', () => {
  /** A token of that header; what is signed is signed by HMAC. */
  const jwt = (header: object, claims: object, key?: string, hash = 'sha256') => {
    const input = `${base64url(header)}.${base64url(claims)}`;
    return `${input}.${key === undefined ? '' : createHmac(hash, key).update(input).digest('base64url')}`;
  };

  test('log nobody in, whatever the token says of its algorithm and where its key is to be had', async () => {
    const { url } = await serve();
    let fetches = 0;
    const keys = createServer((_req, res) => {
      fetches++;
      res.end(JSON.stringify({ keys: [rsa.publicKey.export({ format: 'jwk' })] }));
    }).listen(0, '127.0.0.1');
    await once(keys, 'listening');
    const at = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/keys`;
    const jwk = { kty: 'oct', k: Buffer.from('mine').toString('base64url') };
    const [main, shop] = [said(), said({ site: 'shop' })];
    const good = jwt({ alg: 'HS256' }, main, KEY);
    const tokens: readonly (readonly [string, 'main' | 'shop'])[] = [
      ...['none', 'None', 'NONE', 'nOnE', '', 'HS0'].flatMap((alg) => [
        [jwt({ alg }, main), 'main'] as const,
        [jwt({ alg }, shop), 'shop'] as const,
        [jwt({ alg }, main, KEY), 'main'] as const,
      ]),
      // The public key, which everybody has, taken for a secret.
      [jwt({ alg: 'HS256' }, shop, rsaPublic), 'shop'],
      [jwt({ alg: 'HS256' }, shop, rsaPublic.trim()), 'shop'],
      [jwt({ alg: 'HS512' }, shop, rsaPublic, 'sha512'), 'shop'],
      [jwt({ alg: 'RS256' }, shop, rsaPublic), 'shop'],
      // The secret with algorithms that aren't the service's choice.
      [jwt({ alg: 'HS512' }, main, KEY, 'sha512'), 'main'],
      [jwt({ alg: 'HS384' }, main, KEY, 'sha384'), 'main'],
      [jwt({ alg: 'RS256' }, main, KEY), 'main'],
      // Keys that the token itself brings, or says where to get.
      [jwt({ alg: 'HS256', jwk }, main, 'mine'), 'main'],
      [jwt({ alg: 'HS256', kid: '../../../dev/null' }, main, ''), 'main'],
      [jwt({ alg: 'RS256', jku: at, x5u: at }, shop, 'mine'), 'shop'],
      [jwt({ alg: 'HS256', jku: at }, main, 'mine'), 'main'],
      // What is good of one token with another's claims, or none of it.
      [`${good.split('.')[0]}.${base64url(said({ role: 'admin' }))}.${good.split('.')[2]}`, 'main'],
      [`${good.split('.').slice(0, 2).join('.')}.`, 'main'],
      [jwt({ alg: 'HS256', crit: ['x'], x: 1 }, main, KEY), 'main'],
    ];
    for (const [claims, site] of tokens) {
      const res = await Person.nobody(url).send('/api/session', { claims, site });
      const { error } = (await res.json()) as { error: { code: string; message: string } };
      expect([claims, res.status, error.code]).toEqual([claims, 401, 'claims_forged']);
      // A forger is told the same whatever was wrong.
      expect(error.message).toMatch(/^No key of the site (main|shop) made this signature\./);
      expect(res.headers.get('set-cookie')).toBeNull();
    }
    expect(fetches).toBe(0);
    expect((await Person.nobody(url).send('/api/session', { claims: good })).status).toBe(201);
    keys.close();
  });

  test('are refused by their form and size before any key is tried', async () => {
    const { url } = await serve();
    const whole = sign(said({ name: 'x'.repeat(2900) }));
    for (const [claims, code] of [
      [`${whole}${'0'.repeat(4097 - whole.length)}`, 'claims_too_large'],
      ['é'.repeat(2049), 'claims_too_large'],
      ['', 'claims_malformed'],
      ['.', 'claims_malformed'],
      ['a.b', 'claims_malformed'],
      ['a.b.c.d', 'claims_malformed'],
      [`${sign(said())}\n`, 'claims_malformed'],
      [` ${sign(said())}`, 'claims_malformed'],
      [sign(said()).replace('.', '=.'), 'claims_malformed'],
      [sign(said()).replace('.', '%2e'), 'claims_malformed'],
      [[sign(said())], 'invalid_field'],
      [{ toString: 'x' }, 'invalid_field'],
      [null, 'invalid_field'],
    ] as const) {
      const res = await Person.nobody(url).send('/api/session', { claims });
      const { error } = (await res.json()) as { error: { code: string } };
      expect([claims, error.code]).toEqual([claims, code]);
      expect(res.headers.get('set-cookie')).toBeNull();
    }
    // Signed, and still not what claims are.
    for (const json of ['[]', 'null', '"x"', '7', '{', '{"__proto__":{"role":"admin"}}', '[['.repeat(1000)]) {
      const res = await Person.nobody(url).send('/api/session', { claims: sign(json) });
      expect((await res.json()) as object).toMatchObject({ error: { code: 'claims_malformed' } });
    }
    const twice = new URLSearchParams([
      ['claims', sign(said())],
      ['claims', sign(said({ id: '43' }))],
    ]);
    const res = await fetch(`${url}/api/session`, { method: 'POST', body: twice, headers: { Origin: url } });
    expect([res.status, res.headers.get('set-cookie')]).toEqual([400, null]);
  });
});

describe('a page of another site', () => {
  /** What a browser says of where a request comes from, if it isn't from a page of ours. */
  const FROM: readonly Record<string, string>[] = [
    { Origin: EVIL },
    { Origin: 'null' },
    { Origin: EVIL, 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { Origin: 'null', 'Sec-Fetch-Site': 'same-origin' },
  ];

  /** A body as a page may have a browser send it: with and without a preflight. */
  const bodiesOf = (fields: Record<string, string>): readonly RequestInit[] => {
    const json = JSON.stringify(fields);
    const multipart = new FormData();
    for (const [name, value] of Object.entries(fields)) multipart.set(name, value);
    const typed = (type: string, body: string) => ({ body, headers: { 'Content-Type': type } });
    return [
      typed('application/json', json),
      typed('text/plain', json),
      // [spec] WHATWG HTML, 4.10.21.7: a form of `text/plain` sends JSON where its one field is named so.
      typed('text/plain', `${json.slice(0, -1)},"x":"=\r\n"}`),
      typed('text/plain; application/json', json),
      typed('text/json', json),
      { body: new URLSearchParams(fields) },
      { body: multipart },
      { body: new Blob([json]) },
      {},
    ];
  };

  const FIELDS: Record<string, Record<string, string>> = {
    'POST /api/rooms': { room: 'evil', title: 'x' },
    'POST /api/rooms/:room/messages': { text: 'x' },
    'POST /plain/:room/post': { text: 'x', clientId: 'x'.repeat(24) },
    'POST /plain/:room/log-in': { name: 'Mallory' },
    'POST /api/session': { name: 'Mallory' },
  };

  test('changes nothing by any route, in whatever form, though the browser adds the cookie', async () => {
    const { config, url } = await serve();
    const chat = await createThroughline(config);
    closing.push(() => chat.close());
    const ada = await Person.byClaims(url, sign(said()));
    await ada.post('first');
    await ada.send('/api/rooms/lobby/join', {});
    const all = async () => ({
      session: await (await ada.get('/api/session')).json(),
      rooms: await (await ada.get('/api/rooms')).json(),
      said: (await ada.history()).events,
    });
    const before = await all();
    const routes = routesOf(chat.router).filter((route) => route.startsWith('POST'));
    expect(routes).toEqual(expect.arrayContaining(['POST /api/session/end', 'POST /plain/:room/leave']));
    for (const route of routes) {
      const address = url + route.slice('POST '.length).replace(/:\w+/g, 'lobby');
      for (const from of FROM) {
        for (const init of bodiesOf(FIELDS[route] ?? { rooms: 'lobby' })) {
          const headers = { ...(init.headers as object), ...from, Cookie: ada.cookie };
          const res = await fetch(address, { ...init, method: 'POST', headers, redirect: 'manual' });
          await res.text();
          expect({ route, from, init, status: res.status }).toMatchObject({
            status: expect.toSatisfy((status: number) => [401, 403, 415].includes(status)),
          });
          expect(res.headers.get('set-cookie') ?? '').not.toContain('throughline.sid');
          expect(res.headers.get('access-control-allow-origin')).toBeNull();
        }
      }
    }
    expect(await all()).toEqual(before);
  });

  test('logs nobody in as whoever it has claims of, nor takes the session that was there', async () => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()));
    const mallorys = sign(said({ id: 'mallory', name: 'Mallory' }));
    for (const from of FROM) {
      for (const fields of [{ claims: mallorys }, { claims: mallorys, token: '1' }, { name: 'Mallory' }]) {
        for (const init of bodiesOf(fields as Record<string, string>)) {
          for (const Cookie of [ada.cookie, '']) {
            const headers = { ...(init.headers as object), ...from, ...(Cookie && { Cookie }) };
            const res = await fetch(`${url}/api/session`, { ...init, method: 'POST', headers });
            expect([403, 415]).toContain(res.status);
            expect(res.headers.get('set-cookie')).toBeNull();
            expect(await res.text()).not.toMatch(/tlt_/);
          }
        }
      }
    }
    expect(await (await ada.get('/api/session')).json()).toMatchObject({ user: { id: '42' } });
  });

  test('has no page in its frames but the embed pages of the sites that list it', async () => {
    const { config, url } = await serve();
    const ada = await Person.byClaims(url, sign(said()));
    const policies = async (path: string) => {
      const stop = new AbortController();
      const res = await fetch(url + path, { headers: { Cookie: ada.cookie }, signal: stop.signal });
      const { headers } = res;
      stop.abort();
      expect([path, headers.get('content-type')]).toEqual([path, expect.stringMatching(/^text\/html/)]);
      const csp = headers.get('content-security-policy') ?? '';
      return [/frame-ancestors ([^;]*)/.exec(csp)?.[1], headers.get('x-frame-options')];
    };
    const { cursor } = await ada.history();
    for (const path of [
      '/',
      '/index.html',
      '/index',
      '/rooms/lobby',
      '/rooms/No!Room',
      '/doctor',
      '/doctor.html',
      // The embed page's own file is the page without a site.
      '/embed.html',
      '/embed',
      '/plain/lobby',
      '/plain/nowhere',
      '/plain/No!Room',
      '/plain/lobby/nothing',
    ])
      expect([path, await policies(path)]).toEqual([path, ["'none'", 'SAMEORIGIN']]);
    expect(await policies(`/plain/lobby/live?after=${cursor}`)).toEqual(["'self'", 'SAMEORIGIN']);
    expect(await policies('/embed/main/lobby')).toEqual(["'self'", null]);
    expect(await policies('/embed/shop/lobby')).toEqual([`'self' ${SHOP_ORIGIN}`, null]);
    expect(config.allowedOrigins).toEqual([]);
  });
});

describe('nobody is sent elsewhere', () => {
  /** What is answered to a target as it stands, which no client of today would send so: where it leads a browser to. */
  async function leadsTo(
    port: number,
    target: string,
    head: Record<string, string> = {},
  ): Promise<string | undefined> {
    const socket = connect(port, '127.0.0.1');
    const headers = { Host: `127.0.0.1:${port}`, Connection: 'close', ...head };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`);
    let got = '';
    for await (const chunk of socket) got += chunk;
    const [, location] = /^location: (.*)\r$/im.exec(got.split('\r\n\r\n', 1)[0] as string) ?? [];
    const [, refresh] = /^refresh: .*?url=(.*)\r$/im.exec(got) ?? [];
    const asked = `http://127.0.0.1:${port}${target.startsWith('/') ? target : '/'}`;
    const led = location ?? refresh;
    return led === undefined ? undefined : new URL(led, asked).origin;
  }

  const TARGETS = [
    '/',
    '//evil.example',
    '//evil.example/',
    '//evil.example/..',
    '///evil.example/%2e%2e',
    '/\\evil.example',
    '/\\evil.example/',
    '/%5cevil.example/',
    '/%2f%2fevil.example/',
    '/plain',
    '/plain/',
    '/plain//evil.example',
    '//plain',
    '/plain/..%2f..%2fevil.example/',
    '/rooms//evil.example/',
    '/rooms/%2f%2fevil.example/',
    '/rooms/%5c%5cevil.example/',
    '/rooms/https:evil.example/',
    '/rooms/@evil.example/',
    '/embed/main//evil.example/',
    '/embed/main/%2f%2fevil.example/',
    '/embed/main/%5cevil.example/',
    '/embed/main/javascript:x/',
    '/?next=https://evil.example&return=//evil.example',
    'http://evil.example',
    'http://evil.example/',
    'http://evil.example?x',
    'http://evil.example/plain',
    'http://evil.example/rooms/lobby/',
  ];

  test.each(['', '/chat'])('by any address, with a base path of “%s”', async (basePath) => {
    const { url } = await serve({ basePath });
    const { port } = new URL(url);
    const origin = `http://127.0.0.1:${port}`;
    const led: (string | undefined)[] = [];
    const bases = basePath ? [basePath, `/${basePath}`, `//evil.example${basePath}`] : [''];
    const targets = bases.flatMap((base) => [
      base || '/',
      ...TARGETS.map((target) => base + target),
      ...TARGETS,
    ]);
    for (const target of targets) {
      for (const head of [{}, { 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'https' }]) {
        const to = await leadsTo(Number(port), target, head as Record<string, string>);
        led.push(to);
        expect([target, to ?? origin]).toEqual([target, origin]);
      }
    }
    // Some of them do lead on.
    expect(led.filter((to) => to === origin).length).toBeGreaterThan(4);
  });

  test('on the way to TLS, where the host is that of PUBLIC_URL, or one that can be a host', async () => {
    const hosts = { evil: 'evil.example', odd: 'a@evil.example/x?' };
    const open = async (publicUrl: string | undefined) => {
      const config = testConfig(redis, { httpRedirectPort: await freePort(), publicUrl });
      const redirect = await redirectTo(443, config);
      closing.push(() => redirect.close());
      return redirect.port;
    };
    const named = await open('https://chat.example/talk/');
    for (const target of [
      '/',
      '//evil.example/',
      '/\\evil.example',
      'http://evil.example/',
      'http://evil.example',
    ])
      for (const Host of [`127.0.0.1:${named}`, hosts.evil, hosts.odd])
        expect([target, await leadsTo(named, target, { Host })]).toEqual([target, 'https://chat.example']);
    const unnamed = await open(undefined);
    expect(await leadsTo(unnamed, 'http://evil.example/', { Host: 'chat.example' })).toBe(
      'https://chat.example',
    );
    expect(await leadsTo(unnamed, '//evil.example/', { Host: 'chat.example:80' })).toBe(
      'https://chat.example',
    );
    expect(await leadsTo(unnamed, '/', { Host: '[::1]:80' })).toBe('https://[::1]');
    for (const Host of [hosts.odd, 'chat.example\\.evil.example', 'chat.example#', 'a b', ''])
      expect([Host, await leadsTo(unnamed, '/', { Host })]).toEqual([Host, undefined]);
  });

  test('by a form, which leads back to the room that it was sent to', async () => {
    const { url } = await serve();
    const ada = await Person.byClaims(url, sign(said()));
    const { formToken } = (await (await ada.get('/api/session')).json()) as { formToken: string };
    for (const room of ['lobby', '%2f%2fevil.example', '..%2f..%2fevil.example', '%5cevil.example']) {
      for (const act of ['post', 'join', 'leave', 'log-out']) {
        const body = new URLSearchParams({ formToken, text: 'x', next: EVIL, room: '//evil.example' });
        const init = { method: 'POST', body, redirect: 'manual' as const, headers: { Origin: url } };
        const res = await ada.get(`/plain/${room}/${act}`, init);
        const location = res.headers.get('location');
        if (room === 'lobby' && act !== 'log-out') expect(res.status).toBe(303);
        if (location !== null) expect(new URL(location, res.url).origin).toBe(url);
      }
    }
  });
});
