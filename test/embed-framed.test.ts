import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parseSite } from '../src/chat/sites.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { launchStrictChromium } from './support/chromium.ts';
import { KEY, said, sign } from './support/claims.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let redis: TestRedis;
let folder: string;
let server: RunningServer;
let host: Server;
let origin: string;
let browser: Browser;
/** What the host's page at `/` frames. */
let frame = '';

beforeAll(async () => {
  redis = await startTestRedis();
  folder = await mkdtemp(join(tmpdir(), 'tl-framed-'));
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }]);
  const [tlsCert, tlsKey] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await writeFile(tlsCert, cert);
  await writeFile(tlsKey, key);
  host = createServer({ cert, key }, (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(`<!doctype html>${frame}`);
  });
  host.listen(0);
  await waitFor('the host', () => host.listening);
  origin = `https://localhost:${(host.address() as AddressInfo).port}`;
  const config = testConfig(redis, { tlsCert, tlsKey });
  const claimKeys = [{ id: 'a', secret: KEY, createdAt: 1 }];
  await new SiteBook(redis.client, new Keys(config.namespace)).put(
    parseSite({ site: 'shop', origins: [origin], claimKeys }),
  );
  server = await startTestServer(config);
  browser = await launchStrictChromium();
});
afterAll(async () => {
  await browser?.close();
  host?.closeAllConnections();
  host?.close();
  await server?.close();
  await redis.stop();
  await rm(folder, { recursive: true });
});

test('in another site’s page over https the session is a cookie of that page’s own, though third-party cookies are blocked', async () => {
  const claims = sign(said({ site: 'shop', id: 'u1', name: 'Ada' }));
  frame = `<iframe src="${server.url}/embed/shop/lobby" name="${claims}" width="400" height="500"></iframe>`;
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const asked: { url: string; body: string }[] = [];
  page.on('request', (req) => asked.push({ url: req.url(), body: req.postData() ?? '' }));
  await page.goto(origin);
  const embedded = () => page.frames().find((one) => one.url().includes('/embed/'));
  await (await waitFor('the frame', embedded)).waitForSelector('.status[data-tone="good"]', {
    state: 'attached',
  });
  const plain = await embedded()?.evaluate(() => {
    // biome-ignore lint/suspicious/noDocumentCookie: what is tried is whether it is kept
    document.cookie = 'plain=1; SameSite=None; Secure';
    return document.cookie;
  });
  expect(plain).toBe('');
  const exchanges = asked.filter(({ body }) => body.includes('claims'));
  expect(
    exchanges.map(({ url, body }) => [new URL(url).searchParams.get('framed'), body.includes('token')]),
  ).toEqual([['1', false]]);
  const cookies = (await context.cookies(server.url)).filter(({ name }) => name === 'throughline.sid.shop');
  expect(cookies).toMatchObject([{ sameSite: 'None', secure: true, httpOnly: true }]);
  // It is there after a reload, without any claims.
  frame = frame.replace(/name="[^"]*"/, '');
  await page.reload();
  await (await waitFor('the frame', embedded)).waitForSelector('.status[data-tone="good"]', {
    state: 'attached',
  });
  await context.close();
});
