import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { generate } from 'selfsigned';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { RunningServer } from '../src/server.ts';
import { launchWholeChromium } from './support/chromium.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const HOST = 'chat.test';
const TABS = 8;

// Nine pages on two cores.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let redis: TestRedis;
let browser: Browser;
let folder: string;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  folder = await mkdtemp(join(tmpdir(), 'tl-tabs-'));
  browser = await launchWholeChromium([`--host-resolver-rules=MAP ${HOST} 127.0.0.1`], {
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(async () => {
  await browser?.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

async function serve(isSecure: boolean): Promise<{ server: RunningServer; url: string }> {
  const [tlsCert, tlsKey] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  if (isSecure) {
    const { cert, private: key } = await generate([{ name: 'commonName', value: HOST }]);
    await writeFile(tlsCert, cert);
    await writeFile(tlsKey, key);
  }
  const server = await startTestServer(testConfig(redis, isSecure ? { tlsCert, tlsKey } : {}));
  cleanUps.push(() => server.close());
  const { protocol, port } = new URL(server.url);
  return { server, url: `${protocol}//${HOST}:${port}` };
}

async function newContext(): Promise<BrowserContext> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  cleanUps.push(() => context.close());
  return context;
}

async function open(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

async function logIn(page: Page, name: string): Promise<void> {
  await page.fill('#name', name);
  await page.keyboard.press('Enter');
  await live(page);
}

const live = (page: Page) => page.locator('.status[data-tone="good"]').waitFor({ timeout: 60_000 });

async function say(page: Page, text: string): Promise<void> {
  await page.fill('#text', text);
  await page.keyboard.press('Enter');
}

const shown = (page: Page, text: string) => page.locator('#log .text', { hasText: text });

async function untilOnAll(pages: readonly Page[], text: string): Promise<void> {
  await Promise.all(pages.map((page) => shown(page, text).first().waitFor({ timeout: 30_000 })));
  for (const page of pages) expect(await shown(page, text).count()).toBe(1);
}

describe.each([
  ['plain http, which is no secure context', false],
  ['https', true],
])('eight tabs over %s', (_, isSecure) => {
  test('share one connection, each sees every message once, and another leads when tabs are closed', async () => {
    const { server, url } = await serve(isSecure);
    const context = await newContext();
    const tabs = [await open(context, url)];
    expect(await tabs[0]?.evaluate(() => isSecureContext)).toBe(isSecure);
    await logIn(tabs[0] as Page, 'Ada');
    for (let i = 1; i < TABS; i++) {
      const tab = await open(context, url);
      await live(tab);
      tabs.push(tab);
    }
    await waitFor('one connection', () => server.readers === 1, 20_000);

    const bob = await open(await newContext(), url);
    await logIn(bob, 'Bob');
    await waitFor('his as well', () => server.readers === 2);
    await say(bob, 'hello to all tabs');
    await untilOnAll([...tabs, bob], 'hello to all tabs');
    await say(tabs[3] as Page, 'hello from the fourth');
    await untilOnAll([...tabs, bob], 'hello from the fourth');
    expect(server.readers).toBe(2);

    // Whoever leads is among these.
    for (let i = 0; i < TABS - 2; i++) {
      await tabs.shift()?.close();
      await say(bob, `closed ${i}`);
      await untilOnAll(tabs, `closed ${i}`);
    }
    await waitFor('one connection again', () => server.readers === 2, 20_000);
  });
});

test('a page that comes back from the back-forward cache goes on where it was', async () => {
  const { url } = await serve(true);
  const ada = await open(await newContext(), url);
  await logIn(ada, 'Ada');
  const bob = await open(await newContext(), url);
  await logIn(bob, 'Bob');
  await say(bob, 'before');
  await untilOnAll([ada], 'before');
  await ada.evaluate(() => {
    addEventListener('pageshow', ({ persisted }) => Object.assign(globalThis, { wasPersisted: persisted }));
  });
  await ada.goto(`${url}/doctor?seconds=8`);
  await say(bob, 'meanwhile');
  await untilOnAll([bob], 'meanwhile');
  // Playwright's own going back waits for a load that doesn't come.
  await ada.evaluate(() => history.back());
  await shown(ada, 'before').waitFor();
  expect(await ada.evaluate(() => (globalThis as { wasPersisted?: boolean }).wasPersisted)).toBe(true);
  await untilOnAll([ada], 'meanwhile');
  await say(bob, 'after');
  await untilOnAll([ada], 'after');
});
