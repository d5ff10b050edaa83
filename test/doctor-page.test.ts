import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DoctorCounts } from '../src/log/doctor-counts.ts';
import { Keys } from '../src/log/keys.ts';
import type { RunningServer } from '../src/server.ts';
import { ChaosProxy } from './proxies/chaos.ts';
import type { Rule } from './proxies/habits.ts';
import { launchWholeChromium } from './support/chromium.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';

const SECONDS = Number(process.env['SECONDS'] ?? 8);
const EXAMINED_WITHIN_MS = 60_000;
const FOLDER = process.env['SCREENSHOTS'];
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let redis: TestRedis;
let server: RunningServer;
let namespace: string;
let browser: Browser;
let script: string;
beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis, { basePath: '/chat' });
  namespace = config.namespace;
  server = await startTestServer(config);
  // What it finds is told of the browser that people have.
  browser = await launchWholeChromium();
  const built = await build({
    entryPoints: ['src/browser/doctor/main.ts'],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2017',
    write: false,
  });
  script = built.outputFiles[0]?.text as string;
});
afterAll(async () => {
  await browser?.close();
  await server.close();
  await redis.stop();
});

interface Visit {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly complaints: string[];
}

async function visit(base: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // What a proxy refuses is told on the console as well, and is what was asked for.
    if (message.type() === 'error' && !/WebSocket|Failed to load resource|net::/.test(message.text()))
      complaints.push(message.text());
  });
  await page.route('**/doctor.js', (route) =>
    route.fulfill({ body: script, contentType: 'text/javascript' }),
  );
  await page.goto(`${base}/doctor?seconds=${SECONDS}`);
  return { context, page, complaints };
}

async function through(rules: readonly Rule[], use: (base: string) => Promise<void>): Promise<void> {
  const proxy = await ChaosProxy.start({ port: Number(new URL(server.url).port) }, rules);
  try {
    await use(`${proxy.url}/chat`);
  } finally {
    await proxy.stop();
  }
}

const examined = (page: Page) => page.locator('#again').waitFor({ timeout: EXAMINED_WITHIN_MS });

async function show(page: Page, name: string): Promise<void> {
  if (FOLDER !== undefined) await page.screenshot({ path: `${FOLDER}/${name}.png`, fullPage: true });
}

async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  });
}

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };
const DESKTOP = { viewport: { width: 1280, height: 900 } };

describe('the doctor’s page', () => {
  test('says in Chromium what a network that holds everything does, and is sent with consent only', {
    timeout: 90_000,
  }, async () => {
    await through([{ hold: 'answer', upgrades: 'refuse' }], async (base) => {
      const { context, page, complaints } = await visit(base, {
        ...PHONE,
        colorScheme: 'dark',
      });
      await page.getByText('Arrives at once').waitFor();
      await show(page, 'phone-dark-under-way');
      await examined(page);
      await show(page, 'phone-dark-held');
      expect(await page.locator('#conclusion-title').textContent()).toContain('long polls');
      const badges = await page.locator('.badge:not(.use)').allTextContents();
      expect(badges).toEqual(['Held back', 'Held back', 'Refused', 'Arrives', 'Arrives']);
      expect(await page.locator('.chosen h3').textContent()).toBe('Long poll');
      expect(await page.inputValue('#report')).toContain('[long-poll]: Arrives');
      expect(await axeFindings(page)).toEqual([]);

      const counts = new DoctorCounts(redis.client, new Keys(namespace));
      expect(await counts.read()).toEqual({});
      await page.click('#send');
      await page.getByText('Only people who are logged in').waitFor();
      const person = await Person.logIn(server.url);
      const [name = '', value = ''] = person.cookie.split(/=(.*)/);
      await context.addCookies([{ name, value, domain: '127.0.0.1', path: '/chat' }]);
      await page.click('#send');
      await page.getByText('It has been counted').waitFor();
      expect(await counts.read()).toMatchObject({ reports: 1, 'sse:held': 1, 'carrier:long-poll': 1 });
      expect(complaints).toEqual([]);
      await context.close();
    });
  });

  test('keeps to the strict policy, and finds nothing wrong where nothing is', {
    timeout: 90_000,
  }, async () => {
    const { context, page, complaints } = await visit(server.url, { ...DESKTOP, colorScheme: 'light' });
    await examined(page);
    await show(page, 'desktop-light-well');
    expect(await page.locator('#conclusion-title').textContent()).toContain('All is well');
    expect(await page.locator('#dead').isVisible()).toBe(false);
    expect(await axeFindings(page)).toEqual([]);
    await page.click('#copy');
    await page
      .locator('#copied')
      .getByText(/Copied|selected/)
      .waitFor();
    expect(complaints).toEqual([]);
    await context.close();
  });

  test('shows what is cut, refused and altered', { timeout: 90_000 }, async () => {
    const on = (part: string, method?: string) => (one: { path: string; method: string }) =>
      one.path.endsWith(part) && (method === undefined || one.method === method);
    const rules: Rule[] = [
      { cut: { afterMs: 5000, how: 'torn' } },
      {
        on: on('/doctor/stream', 'POST'),
        answer: { status: 403, html: '<p>Generated by proxy (squid/6.13)</p>' },
      },
    ];
    await through(rules, async (base) => {
      const { context, page, complaints } = await visit(base, { ...DESKTOP, colorScheme: 'dark' });
      await examined(page);
      await show(page, 'desktop-dark-cut');
      const badges = await page.locator('.badge:not(.use)').allTextContents();
      expect(badges).toEqual(['Cut off', 'Refused', 'Cut off', 'Arrives', 'Arrives']);
      expect(await page.locator('.chosen h3').textContent()).toBe('Event stream');
      expect(await page.locator('#proxy').textContent()).toContain('Squid');
      expect(complaints).toEqual([]);
      await context.close();
    });
  });

  test('says so where the service goes away meanwhile', { timeout: 90_000 }, async () => {
    const going = await startTestServer(testConfig(redis));
    const { context, page } = await visit(going.url, PHONE);
    await page
      .getByText(/Listening: [3-9]/)
      .first()
      .waitFor();
    await going.close();
    await examined(page);
    await show(page, 'phone-light-gone');
    expect(await page.locator('#conclusion-title').textContent()).toContain('went away');
    expect(await page.locator('#consent').isVisible()).toBe(false);
    await context.close();
  });

  test('says so where its script doesn’t arrive', async () => {
    const context = await browser.newContext(PHONE);
    const page = await context.newPage();
    await page.route('**/doctor.js', (route) => route.abort());
    await page.goto(`${server.url}/doctor`);
    expect(await page.locator('#dead').isVisible()).toBe(true);
    await show(page, 'phone-light-dead');
    await context.close();
  });
});
