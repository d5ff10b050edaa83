import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, BrowserContext, Frame, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { findProgram } from './proxies/programs.ts';
import { launchChromium } from './support/chromium.ts';
import { PhpSite } from './support/php-site.ts';
import { ServiceProcess } from './support/service-process.ts';
import { waitFor } from './support/wait-for.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SECRETS = /tlt_|eyJ|tlk_|clk_/;
/** What the README promises of a log-out. */
const ENDED_WITHIN_MS = 2000;
/** A second to connect, a second to be answered, and what a busy machine adds. */
const HELD_AT_MOST_MS = 3000;
const QUICK_MS = 500;
const EXAMPLE = join(import.meta.dirname, '../examples/php');

const isMissing = findProgram('php') === undefined && process.env['CI'] !== 'true';

describe.skipIf(isMissing)('a shop in plain PHP', () => {
  let folder: string;
  let service: ServiceProcess;
  let shop: PhpSite;
  let browser: Browser;
  const contexts: BrowserContext[] = [];
  /** Every URL and Referer that a browser sent, whomever it asked. */
  const sent: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tl-example-'));
    service = new ServiceProcess([], { DATA_DIR: folder, PORT: '0', LOG_LEVEL: 'info' });
    const url = await service.url();
    shop = await PhpSite.start(url, folder);
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await shop?.stop();
    service?.child.kill('SIGCONT');
    await service?.kill('SIGTERM');
    await rm(folder, { recursive: true, force: true });
  });

  /** A browser of somebody's own. */
  async function openBrowser(): Promise<BrowserContext> {
    const context = await browser.newContext({ viewport: { width: 1000, height: 760 } });
    contexts.push(context);
    context.on('request', async (request) => {
      sent.push(request.url());
      const headers = await request.allHeaders().catch(() => request.headers());
      sent.push(headers['referer'] ?? '');
    });
    return context;
  }

  async function logIn(context: BrowserContext, login: string, password: string): Promise<Page> {
    const page = await context.newPage();
    await page.goto(shop.url);
    await page.fill('#login', login);
    await page.fill('#password', password);
    await page.click('#log-in');
    await page.waitForSelector('h1:has-text("Your orders")');
    return page;
  }

  /** Opens the page with the chat in it, and waits until somebody is live there. */
  async function openChat(page: Page): Promise<Frame> {
    await page.goto(`${shop.url}/chat.php`);
    const frame = await waitFor('the frame', () =>
      page.frames().find((one) => one.url().includes('/embed/')),
    );
    await frame.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
    return frame;
  }

  async function say(frame: Frame, text: string): Promise<void> {
    await frame.fill('#text', text);
    await frame.press('#text', 'Enter');
  }

  const picture = async (page: Page, name: string) => {
    const shots = process.env['SCREENSHOTS'];
    if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
  };

  const askForClaims = (context: BrowserContext) => context.request.post(`${shop.url}/chat-claims.php`);
  const claimed = (claims: string) =>
    JSON.parse(Buffer.from(claims.split('.')[0] as string, 'base64url').toString());

  test('signs by the very lines of the project’s README', () => {
    const read = (path: string) => readFileSync(join(import.meta.dirname, '..', path), 'utf8');
    const lines = /^## Your own users$[\s\S]*?^```php\n([\s\S]*?)^```$/m.exec(
      read('README.md'),
    )?.[1] as string;
    expect(lines.trim().split('\n')).toHaveLength(6);
    expect(read('examples/php/throughline.php').replaceAll(/^ {4}/gm, '')).toContain(lines.trim());
  });

  test('its users chat under the names they have there, and no PHP worker has to do with it', async () => {
    const [ada, zoe] = [await openBrowser(), await openBrowser()];
    const adasPage = await logIn(ada, 'ada', 'analytical');
    const zoesPage = await logIn(zoe, 'zoe', 'compiler');
    const adasChat = await openChat(adasPage);
    const zoesChat = await openChat(zoesPage);

    // What was opened ahead of need by the browser goes first.
    await waitFor('all pages to be sent', () => shop.connections === 0);
    const before = shop.requests.length;
    await say(adasChat, 'Is the tea in?');
    await zoesChat.waitForSelector('text=Is the tea in?');
    await say(zoesChat, 'Since this morning.');
    await adasChat.waitForSelector('text=Since this morning.');
    expect(await zoesChat.innerText('#log')).toContain('Ada Lovelace');
    expect(await adasChat.innerText('#log')).toContain("Zoë O'Hara <zoe>");
    expect(await adasChat.innerText('#log')).not.toMatch(/guest/i);
    await picture(adasPage, 'php-chat');
    expect(shop.requests.slice(before)).toEqual([]);
    expect(shop.connections).toBe(0);

    // The one worker there is answers, while both chats are live.
    const startedAt = performance.now();
    for (let i = 0; i < 10; i++) expect((await ada.request.get(`${shop.url}/chat.php`)).status()).toBe(200);
    expect((performance.now() - startedAt) / 10).toBeLessThan(QUICK_MS);
  });

  test('a page with claims is kept nowhere, and nobody else’s', async () => {
    const [ada, zoe] = contexts as [BrowserContext, BrowserContext];
    for (const path of ['/', '/chat.php']) {
      const answer = await ada.request.get(shop.url + path);
      expect(answer.headers()['cache-control']).toBe('private, no-store');
      expect(await answer.text()).toMatch(/data-claims="eyJ/);
    }
    const [adas, zoes] = [await askForClaims(ada), await askForClaims(zoe)];
    expect(adas.headers()['cache-control']).toBe('private, no-store');
    expect(claimed(await adas.text())).toMatchObject({ site: 'shop', id: '7', name: 'Ada Lovelace' });
    expect(claimed(await zoes.text())).toMatchObject({ id: '8', name: "Zoë O'Hara <zoe>" });
    const nobodys = await fetch(`${shop.url}/chat-claims.php`, { method: 'POST' });
    expect(nobodys.status).toBe(401);
    expect(nobodys.headers.get('cache-control')).toBe('private, no-store');
    expect((await ada.request.get(`${shop.url}/chat-claims.php`)).status()).toBe(405);
  });

  test('an order is told in the room', async () => {
    const [ada, zoe] = contexts as [BrowserContext, BrowserContext];
    const zoesChat = zoe
      .pages()[0]
      ?.frames()
      .find((one) => one.url().includes('/embed/')) as Frame;
    const page = ada.pages()[0] as Page;
    await page.goto(shop.url);
    await page.fill('#what', 'Tea & <b>biscuits</b>');
    await page.click('#order');
    await page.waitForSelector('#orders td:has-text("Tea & <b>biscuits</b>")');
    const notice = 'Ada Lovelace has ordered: Tea & <b>biscuits</b> (order';
    await zoesChat.waitForSelector(`text=${notice}`);
    await picture(page, 'php-orders');
    await picture(zoe.pages()[0] as Page, 'php-notice');
    const log = await zoesChat.innerText('#log');
    expect(log.split(notice)).toHaveLength(2);
  });

  test('takes none of its forms from elsewhere', async () => {
    const [ada] = contexts as [BrowserContext];
    for (const path of ['/order.php', '/logout.php', '/login.php']) {
      const answer = await ada.request.post(shop.url + path, { form: { what: 'nothing', csrf: '' } });
      expect(answer.status()).toBe(403);
    }
    expect(await (await ada.request.get(shop.url)).text()).not.toContain('nothing');
  });

  test('log-out there ends the chat in all tabs, and whoever logs in next is somebody else', async () => {
    const [ada] = contexts as [BrowserContext];
    const first = ada.pages()[0] as Page;
    const second = await ada.newPage();
    const chat = await openChat(second);
    await first.goto(shop.url);
    await first.click('#log-out');
    const loggedOutAt = performance.now();
    await chat.waitForSelector('#door:not([hidden])', { timeout: ENDED_WITHIN_MS });
    expect(performance.now() - loggedOutAt).toBeLessThan(ENDED_WITHIN_MS);
    expect(await chat.isVisible('#text')).toBe(false);
    await picture(second, 'php-logged-out');
    expect((await askForClaims(ada)).status()).toBe(401);

    await first.fill('#login', 'zoe');
    await first.fill('#password', 'compiler');
    await first.click('#log-in');
    await first.waitForSelector('h1:has-text("Your orders")');
    expect(claimed(await (await askForClaims(ada)).text())).toMatchObject({ id: '8' });
    // The same tab as before, loaded anew.
    const zoesChat = await openChat(second);
    await say(zoesChat, 'From another desk.');
    await zoesChat.waitForSelector('.own:has-text("From another desk.")');
    expect(await zoesChat.innerText('#log')).toContain('Is the tea in?');
  });

  test('works on when the chat hangs, and is told so in its log', async () => {
    const page = contexts[1]?.pages()[0] as Page;
    await page.goto(shop.url);
    service.child.kill('SIGSTOP');
    try {
      await page.fill('#what', 'Sugar');
      const orderedAt = performance.now();
      await page.click('#order', { noWaitAfter: true });
      await page.waitForSelector('#orders td:has-text("Sugar")');
      expect(performance.now() - orderedAt).toBeLessThan(HELD_AT_MOST_MS);
    } finally {
      service.child.kill('SIGCONT');
    }
    expect(shop.log).toContain("the chat didn't take /api/rooms/lobby/messages");
  });

  test('doesn’t wait for the end of an answer', async () => {
    const drips = createServer((_req, res) => {
      res.writeHead(200).flushHeaders();
      const timer = setInterval(() => res.write('.'), 100);
      res.once('close', () => clearInterval(timer));
    });
    drips.listen(0, '127.0.0.1');
    await once(drips, 'listening');
    try {
      const script = `require '${EXAMPLE}/throughline.php'; var_dump(throughline_revoke(['id' => 1]));`;
      const { port } = drips.address() as AddressInfo;
      const env = { ...process.env, THROUGHLINE_URL: `http://127.0.0.1:${port}`, THROUGHLINE_API_KEY: 'x' };
      const { stdout } = await promisify(execFile)('php', ['-r', script], { env });
      expect(stdout).toContain('bool(true)');
    } finally {
      drips.closeAllConnections();
      drips.close();
    }
  });

  test('neither logs nor Referers hold claims, tokens or keys', () => {
    expect(shop.requests.length).toBeGreaterThan(20);
    expect(service.out).toContain('/api/session');
    expect(sent.filter((line) => line.startsWith(shop.url)).length).toBeGreaterThan(20);
    for (const text of [shop.log, service.out, service.err, sent.join('\n')])
      expect(text).not.toMatch(SECRETS);
  });
});
