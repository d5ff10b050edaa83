import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { startTestServer, testConfig } from './support/service.ts';

let redis: TestRedis;
let browser: Browser;
beforeAll(async () => {
  redis = await startTestRedis();
  browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
});
afterAll(async () => {
  await browser?.close();
  await redis.stop();
});

/** Opens the page in a browser profile of its own and logs in; everything the console complains of is kept. */
async function enter(url: string, name: string, complaints: string[]): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${url}/`);
  await page.fill('#name', name);
  await page.keyboard.press('Enter');
  await page.locator('#text').waitFor({ state: 'visible' });
  return page;
}

test.each(['', '/chat'])('two people chat in their browsers under the base path "%s"', async (basePath) => {
  const server = await startTestServer(testConfig(redis, { basePath }));
  const complaints: string[] = [];
  try {
    const ada = await enter(server.url, 'Ada', complaints);
    const bob = await enter(server.url, 'Bob', complaints);
    await ada.fill('#text', '<b>hello</b> & goodbye');
    await ada.keyboard.press('Enter');
    await bob.getByText('<b>hello</b> & goodbye').waitFor();
    await bob.fill('#text', 'hello to you');
    await bob.keyboard.press('Enter');
    await ada.getByText('hello to you').waitFor();
    await bob.reload();
    await bob.getByText('<b>hello</b> & goodbye').waitFor();
    expect(await bob.getByText('hello to you').count()).toBe(1);
    expect(complaints).toEqual([]);
  } finally {
    await server.close();
  }
});
