import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Frame, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { launchWholeChromium } from './support/chromium.ts';
import { waitFor } from './support/wait-for.ts';

// What the application answers is tested by the suite of its own, examples/express/test, which is run beside these.

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ROOT = join(import.meta.dirname, '..');
const SERVER = 'examples/express/server.js';
const ENDED_WITHIN_MS = 2000;

let folder: string;
let workshop: ChildProcess;
let url: string;
let browser: Browser;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tl-workshop-'));
  workshop = spawn(process.execPath, [join(ROOT, SERVER)], {
    // The chat's data goes there.
    cwd: folder,
    env: { PATH: process.env['PATH'], PORT: '0', LOG_LEVEL: 'silent' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  workshop.stdout?.on('data', (bytes) => {
    said += bytes;
  });
  url = await waitFor('the workshop', () => /The workshop is at (\S+)\//.exec(said)?.[1], 20_000);
  browser = await launchWholeChromium();
});
afterAll(async () => {
  await browser?.close();
  if (workshop?.exitCode === null) workshop.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** Logs in, in a browser of their own: the page, and the chat in it. */
async function enter(login: string, password: string): Promise<{ page: Page; chat: Frame }> {
  const context = await browser.newContext({ viewport: { width: 900, height: 700 } });
  const page = await context.newPage();
  await page.goto(url);
  await page.fill('#login', login);
  await page.fill('#password', password);
  await page.click('#log-in');
  return { page, chat: await liveIn(page) };
}

async function liveIn(page: Page): Promise<Frame> {
  const chat = await waitFor('the frame', () => page.frames().find((one) => one.url().includes('/embed/')));
  await chat.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
  return chat;
}

const picture = async (page: Page, name: string) => {
  const shots = process.env['SCREENSHOTS'];
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
};

test('its README starts what is started here', () => {
  expect(readFileSync(join(ROOT, 'examples/express/README.md'), 'utf8')).toContain(`\nnode ${SERVER}\n`);
});

test('users of an Express application chat in its pages, as who they are there, until they log out', async () => {
  const ada = await enter('ada', 'analytical');
  const zoe = await enter('zoe', 'compiler');
  await ada.chat.fill('#text', 'Is the lathe free?');
  await ada.chat.press('#text', 'Enter');
  await zoe.chat.waitForSelector('text=Is the lathe free?');
  expect(await zoe.chat.innerText('#log')).toContain('Ada Lovelace');
  await picture(zoe.page, 'express-chat');

  // In another tab it ends as well, and nobody is asked for a name, which would be of no use here.
  const tab = await ada.page.context().newPage();
  await tab.goto(url);
  const other = await liveIn(tab);
  await ada.page.click('#log-out');
  await other.waitForSelector('#members-only', { timeout: ENDED_WITHIN_MS });
  expect(await other.isVisible('#name')).toBe(false);
  expect(await other.isVisible('#text')).toBe(false);
  await picture(tab, 'express-logged-out');
  await zoe.chat.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
});

test('ends in order while somebody reads', async () => {
  const exit = once(workshop, 'exit');
  workshop.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});
