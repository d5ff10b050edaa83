import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SCOPES } from '../src/chat/api-keys.ts';
import { MAIN_SITE, parseSite } from '../src/chat/sites.ts';
import { ApiKeys } from '../src/log/api-keys.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import { findProgram, type RunningProxy, startProgram } from './proxies/programs.ts';
import { carriers } from './support/carriers.ts';
import { launchStrictChromium } from './support/chromium.ts';
import { KEY, said, sign } from './support/claims.ts';
import { freePort } from './support/free-port.ts';
import { type HostSite, openHostSite } from './support/host-site.ts';
import { PlainVisitor } from './support/plain.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person } from './support/service.ts';
import { ServiceProcess } from './support/service-process.ts';
import { waitFor } from './support/wait-for.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const NAMESPACE = 'secrecy';
const NGINX = ['-p', '{folder}', '-e', '{log}/start.log', '-c', '{configuration}'];

let redis: TestRedis;
let service: ServiceProcess;
let proxy: RunningProxy;
let host: HostSite;
let browser: Browser;
let folder: string;
let url: string;
let isRedisAway = false;

const isMissing = findProgram('nginx') === undefined && process.env['CI'] !== 'true';

describe.skipIf(isMissing)('what lets somebody in', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tl-logs-'));
    const redisPort = await freePort();
    redis = await startTestRedis(redisPort);
    host = await openHostSite();
    const keys = new Keys(NAMESPACE);
    const claimKeys = [{ id: 'a', secret: KEY, createdAt: 1 }];
    await new SiteBook(redis.client, keys).put(
      parseSite({ site: 'main', origins: [host.origin], claimKeys }),
    );
    service = new ServiceProcess([], {
      PORT: '0',
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      NAMESPACE,
      LOG_LEVEL: 'trace',
      TRUST_PROXY: '1',
      SESSION_SECRET: 'known to the process alone, and to nobody who reads Redis',
    });
    const port = Number(new URL(await service.url()).port);
    const program = { program: 'nginx' as const, configuration: 'nginx-logging.conf', args: NGINX };
    proxy = await startProgram(program, port, { log: folder });
    url = `http://127.0.0.1:${proxy.port}`;
    browser = await launchStrictChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await proxy?.stop();
    await service?.kill('SIGTERM');
    await host?.close();
    if (!isRedisAway) await redis?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('is in no log of the service or of a proxy, in no address and no Referer, and of Redis only in its place', async () => {
    const keys = new Keys(NAMESPACE);
    const { secret: apiKey } = await new ApiKeys(redis.client, keys).create(MAIN_SITE, {
      name: 'Orders',
      scopes: SCOPES,
    });
    /** What must be nowhere, by what it is. */
    const secrets = new Map([
      ['the claim key', KEY],
      ['the API key', apiKey],
      ['the API key’s secret', apiKey.split('_').slice(2).join('_')],
    ]);
    const noteClaims = (claims: string, whose: string) => {
      const [payload = '', signature = ''] = claims.split('.');
      secrets.set(`${whose} claims`, payload).set(`the signature of ${whose} claims`, signature);
      return claims;
    };
    /** What the browser may be known by at its store, but only there. */
    const ids = new Map<string, string>();
    const noteCookie = (cookie: string, whose: string) => {
      const [id = '', signature = ''] = decodeURIComponent(cookie.split('=')[1] as string)
        .slice(2)
        .split('.');
      ids.set(`the id of ${whose} session`, id);
      secrets.set(`the signature of ${whose} cookie`, signature).set(`${whose} cookie`, cookie);
    };
    const noteToken = (token: string, whose: string) => {
      const [id = '', signature = ''] = token.slice('tlt_'.length).split('.');
      ids.set(`the id of ${whose} token`, id);
      secrets.set(`the signature of ${whose} token`, signature).set(`${whose} token`, token);
    };

    // By token, and by cookie, over everything that carries.
    const claims = noteClaims(sign(said()), 'Ada’s');
    const ada = await Person.byClaims(url, claims, 'main', '1');
    noteToken(ada.token as string, 'Ada’s');
    const bob = await Person.byClaims(url, noteClaims(sign(said({ id: '43', name: 'Bob' })), 'Bob’s'));
    noteCookie(bob.cookie, 'Bob’s');
    const gus = await Person.logIn(url, 'Gus');
    noteCookie(gus.cookie, 'Gus’s');
    for (const person of [ada, bob, gus]) {
      const { cursor } = await person.history();
      for (const carrier of carriers) {
        const follower = carrier.follow(person, ['lobby'], cursor);
        const text = `${person.user.name} over ${carrier.name}`;
        await person.post(text);
        await waitFor(text, () => follower.failure ?? follower.texts.includes(text), 10_000);
        expect(follower.failure).toBeUndefined();
        await follower.cut();
      }
      await person.send('/api/confirm', { rooms: ['lobby'] });
    }
    const byBody = new URLSearchParams({ token: ada.token as string, text: 'by form' });
    expect((await fetch(`${url}/api/rooms/lobby/messages`, { method: 'POST', body: byBody })).status).toBe(
      201,
    );
    const plain = await new PlainVisitor(url).logIn('Pia');
    await plain.send('post', { text: 'without script' });
    noteCookie(`throughline.sid=${plain.cookies.get('throughline.sid')}`, 'Pia’s');
    secrets.set('a form token', plain.hidden('formToken'));

    // By a host's server.
    const byKey = (path: string, body: object, key = apiKey) =>
      fetch(`${url}/api${path}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await byKey('/rooms/lobby/messages', { text: 'x', as: 'bot', name: 'Orders' })).status).toBe(201);
    const signed = await byKey('/tokens', { id: '44', name: 'Cy' });
    noteClaims(((await signed.json()) as { claims: string }).claims, 'Cy’s');
    const stream = new AbortController();
    const headers = { Authorization: `Bearer ${apiKey}` };
    await fetch(`${url}/api/stream?rooms=lobby`, { headers, signal: stream.signal });
    stream.abort();

    // In pages of the host: the frame alone, and the widget.
    for (const [path, body] of [
      ['/frame', (given: string) => `<iframe src="${url}/embed/main/lobby" name="${given}"></iframe>`],
      [
        '/widget',
        (given: string) =>
          `<div id="here"></div><script src="${url}/widget.js" async data-mode="inline" data-target="#here" data-claims="${given}"></script>`,
      ],
    ] as const) {
      const theirs = noteClaims(sign(said({ id: path, name: `By ${path}` })), path);
      host.pages.set(path, (_req, res) => {
        res.setHeader('Content-Type', 'text/html');
        // The laxest there is: what it hands on by itself must have no secret in it.
        res.setHeader('Referrer-Policy', 'unsafe-url');
        res.end(`<!doctype html><title>Shop</title>${body(theirs)}`);
      });
      const context = await browser.newContext();
      // With streams refused on the way the widget’s chat goes over a WebSocket.
      if (path === '/widget')
        await context.route('**/api/stream*', (route) => route.fulfill({ status: 403, body: 'no' }));
      const page = await context.newPage();
      page.on('response', async (res) => {
        if (!res.url().endsWith('/api/session') || res.request().method() !== 'POST') return;
        const { token } = (await res.json()) as { token?: string };
        if (token) noteToken(token, path);
      });
      await page.goto(host.origin + path);
      const frame = await waitFor('the frame', () =>
        page.frames().find((one) => one.url().includes('/embed/')),
      );
      await frame.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
      if (path === '/widget') await frame.waitForSelector('#status:has-text("WebSocket")');
      await frame.fill('#text', `by ${path} https://example.org/`);
      await frame.press('#text', 'Enter');
      await waitFor('it to be said', async () =>
        JSON.stringify((await bob.history()).events).includes(`by ${path} `),
      );
      expect(secrets.has(`${path} token`)).toBe(true);
      await context.close();
    }

    // What goes wrong is logged, too.
    for (const wrong of [`${claims}x`, claims.replace('.', '..'), `${claims.slice(0, -1)}g`, `.${claims}`])
      await Person.nobody(url).send('/api/session', { claims: wrong });
    const bad = { Authorization: `Bearer ${ada.token}x`, 'Content-Type': 'application/json' };
    await fetch(`${url}/api/rooms`, { method: 'POST', headers: bad, body: `{"token":"${ada.token}` });
    await byKey('/rooms/lobby/messages', { text: 7, token: ada.token }, `${apiKey}x`);
    await fetch(`${url}/api/rooms`, { headers: { Cookie: `${bob.cookie}x` } });
    await byKey('/users/42/revoke', {});

    // Redis has what sessions are found by in their keys, and none of what proves that one may.
    const kept = await allOf(redis);
    expect(kept.size).toBeGreaterThan(10);
    for (const [name, value] of kept) {
      for (const [what, secret] of secrets) {
        // A site's key is what its claims are checked by, and has to be there whole.
        if (what === 'the claim key' && name.includes('site')) continue;
        expect([what, name, `${name} ${value}`.includes(secret)]).toEqual([what, name, false]);
      }
      for (const [what, id] of ids)
        expect([what, name, value.includes(id) || (!name.includes('sess:') && name.includes(id))]).toEqual([
          what,
          name,
          false,
        ]);
    }
    expect([...ids.values()].some((id) => [...kept.keys()].some((name) => name.includes(id)))).toBe(true);

    // With Redis away every request is a fault, and told with all that is known of it.
    await redis.stop();
    isRedisAway = true;
    for (const person of [ada, bob]) expect((await person.get('/api/rooms')).status).toBe(503);
    expect((await byKey('/rooms/lobby/messages', { text: 'x' })).status).toBe(503);
    await Person.nobody(url).send('/api/session', { claims });

    const proxys = await readFile(join(folder, 'access.log'), 'utf8');
    for (const line of [
      'GET /api/socket?',
      'token=1',
      'POST /api/tokens',
      'GET /embed/main/lobby',
      'GET /plain/lobby',
    ])
      expect(proxys).toContain(line);
    expect(proxys).toContain(`${host.origin}/frame`);
    await waitFor('the log', () => service.out.includes('/api/tokens') && service.out.includes('"level":'));
    const logs = {
      'the service’s log': service.out + service.err,
      'the proxy’s log': proxys,
      'the proxy’s errors': await readFile(join(folder, 'error.log'), 'utf8'),
    };
    expect(ids.size + secrets.size).toBeGreaterThan(25);
    for (const [where, text] of Object.entries(logs)) {
      for (const [what, secret] of [...secrets, ...ids])
        expect([what, where, text.includes(secret) || text.includes(encodeURIComponent(secret))]).toEqual([
          what,
          where,
          false,
        ]);
      expect([where, text.match(/tlt_|tlk_|clk_|\beyJ|s%3A|throughline\.sid/)?.[0]]).toEqual([
        where,
        undefined,
      ]);
    }
  });
});

/** All that Redis holds of the service, by key. */
async function allOf({ client }: TestRedis): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of await client.keys('*')) {
    const read: Record<string, () => Promise<unknown>> = {
      string: () => client.get(key),
      hash: () => client.hgetall(key),
      set: () => client.smembers(key),
      zset: () => client.zrange(key, '0', '-1'),
      list: () => client.lrange(key, '0', '-1'),
      stream: () => client.xrange(key, '-', '+') as Promise<unknown>,
    };
    // What has just expired holds nothing.
    const value = await read[await client.type(key)]?.();
    if (value !== undefined && value !== null) found.set(key, JSON.stringify(value));
  }
  return found;
}
