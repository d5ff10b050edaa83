import axe from 'axe-core';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ar } from '../src/browser/page/strings/ar.ts';
import { de } from '../src/browser/page/strings/de.ts';
import type { Config } from '../src/config.ts';
import type { RunningServer } from '../src/server.ts';
import { launchChromium, launchWholeChromium } from './support/chromium.ts';
import { openLine } from './support/line.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true };

// Browsers on a busy machine.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let redis: TestRedis;
let server: RunningServer;
let browser: Browser;
/** With all that people's browsers have, such as notifications. */
let whole: Browser;
/** What is built of the page's sources, by name. */
const files = new Map<string, string>();
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  server = await startTestServer(testConfig(redis));
  browser = await launchChromium();
  whole = await launchWholeChromium();
  for (const [name, entry] of [
    ['page.js', 'main.ts'],
    ['links.js', 'links.ts'],
  ] as const) {
    const built = await build({
      entryPoints: [`src/browser/page/${entry}`],
      bundle: true,
      format: 'iife',
      globalName: 'ThroughlineLinks',
      target: 'es2017',
      charset: 'utf8',
      write: false,
    });
    files.set(name, built.outputFiles[0]?.text as string);
  }
  files.set('strings-ar.json', JSON.stringify(ar));
  files.set('strings-de.json', JSON.stringify(de));
});
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
});
afterAll(async () => {
  await browser?.close();
  await whole?.close();
  await server?.close();
  await redis.stop();
});

interface Visit {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Scripts' errors, and what the content security policy forbade. */
  readonly complaints: string[];
  /** The built files that it asked for. */
  readonly asked: string[];
}

interface VisitOptions extends NonNullable<Parameters<Browser['newContext']>[0]> {
  readonly by?: Browser;
  readonly path?: string;
  /** Runs in the page before its own script. */
  readonly before?: () => void;
  /** A built file that doesn't come, or only once the promise is kept. */
  readonly missing?: { readonly name: string; readonly until?: Promise<void> };
}

/** Opens the page in a browser profile of its own. */
async function visit(url: string, options: VisitOptions = {}): Promise<Visit> {
  const { path = '/', by = browser, before, missing, ...rest } = options;
  const context = await by.newContext(rest);
  contexts.push(context);
  const complaints: string[] = [];
  const asked: string[] = [];
  await context.route(/\/(page|links)\.js$|\/strings-\w+\.json$/, async (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop() as string;
    asked.push(name);
    if (name === missing?.name) {
      if (!missing.until) return route.abort();
      await missing.until;
    }
    const contentType = name.endsWith('.js') ? 'text/javascript' : 'application/json';
    await route.fulfill({ body: files.get(name) as string, contentType });
  });
  if (before) await context.addInitScript(before);
  await context.exposeFunction('complain', (what: string) => complaints.push(what));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      (globalThis as unknown as { complain(what: string): void }).complain(
        `${violatedDirective} ${blockedURI}`,
      ),
    );
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  await page.goto(url + path);
  return { page, context, complaints, asked };
}

/** The same, logged in. */
async function enter(url: string, name: string, options: VisitOptions = {}): Promise<Visit> {
  const visited = await visit(url, options);
  await visited.page.fill('#name', name);
  await visited.page.keyboard.press('Enter');
  await visited.page.locator('#text').waitFor();
  await live(visited.page);
  return visited;
}

const unreachable = (page: Page) => page.locator('.status[data-tone="bad"]').waitFor();
const live = (page: Page) => page.locator('.status[data-tone="good"]').waitFor();

async function write(page: Page, text: string): Promise<void> {
  await page.fill('#text', text);
  await page.keyboard.press('Enter');
}

/** A message as it is shown, by all of its text. */
const shown = (page: Page, text: string) => page.locator('#log .text', { hasText: text });

const isAtBottom = (page: Page) =>
  page.evaluate(() => {
    const { scrollTop, scrollHeight, clientHeight } = document.getElementById('scroller') as HTMLElement;
    return scrollHeight - scrollTop - clientHeight < 2;
  });

/** Where a text stands. */
const top = (page: Page, text: string) =>
  page.evaluate(
    (wanted) =>
      Array.from(document.querySelectorAll('#log .text'))
        .find(({ textContent }) => textContent === wanted)
        ?.getBoundingClientRect().top,
    text,
  );

/** Marks the log by `data-aloud` if something comes in while it is read aloud. */
const noteWhatIsReadAloud = (page: Page) =>
  page.evaluate(() => {
    const log = document.getElementById('log') as HTMLElement;
    new MutationObserver((records) => {
      const added = records.some(({ addedNodes }) => addedNodes.length > 0);
      if (added && log.getAttribute('aria-live') !== 'off') log.setAttribute('data-aloud', '1');
    }).observe(log, { childList: true, subtree: true });
  });

async function newRoom(person: Person, messages = 0): Promise<string> {
  const room = `room-${Math.random().toString(36).slice(2, 10)}`;
  await person.send('/api/rooms', { room, title: room });
  for (let i = 1; i <= messages; i++) await person.post(`message ${i}`, room);
  return room;
}

/** As if somebody looked at another tab. */
const lookAway = (page: Page) =>
  page.evaluate(() => {
    document.hasFocus = () => false;
  });

async function withServer(
  overrides: Partial<Config>,
  act: (server: RunningServer, config: Config) => Promise<void>,
): Promise<void> {
  const config = testConfig(redis, overrides);
  const own = await startTestServer(config);
  try {
    await act(own, config);
  } finally {
    await own.close();
  }
}

test.each([
  ['Chromium', '', () => whole],
  ['its headless shell', '/chat', () => browser],
])('two people chat in %s under the base path "%s"', async (_name, basePath, browserOf) => {
  await withServer({ basePath }, async ({ url }) => {
    const by = browserOf();
    const ada = await enter(url, 'Ada', { path: '/rooms/lobby', by });
    const bob = await enter(url, 'Bob', { by });
    await bob.page.locator('#people-list', { hasText: 'Ada' }).waitFor();
    await write(ada.page, 'hello');
    await shown(bob.page, 'hello').waitFor();
    await write(bob.page, 'hello to you');
    await shown(ada.page, 'hello to you').waitFor();
    await bob.page.reload();
    await shown(bob.page, 'hello to you').waitFor();
    expect(await bob.page.locator('#log .message').count()).toBe(2);
    expect(await bob.page.locator('#outbox li').count()).toBe(0);
    expect([...ada.complaints, ...bob.complaints]).toEqual([]);
  });
});

test('texts are shown as they are, whatever markup, scripts or links they look like', async () => {
  const corpus = [
    '<script>complain("ran")</script>',
    '<img src=x onerror=complain("ran")>',
    '"><svg onload=complain("ran")>',
    '<a href="javascript:complain(1)">x</a> javascript:complain(1)',
    'https://example.org/"onmouseover="complain(1)',
    "https://example.org/'><script>complain(1)</script>",
    'data:text/html,<script>complain(1)</script>',
    '&lt;b&gt; &amp; ${complain(1)} {{complain(1)}}',
    '<style>*{display:none}</style>',
    '</div></main></body>',
  ];
  const name = '<img src=x onerror=complain(2)>';
  const writer = await Person.logIn(server.url, name);
  const room = await newRoom(writer);
  await writer.send('/api/rooms', { room: `${room}-x`, title: '<b onclick=complain(3)>title</b>' });
  for (const text of corpus) await writer.post(text, room);
  const { page, complaints } = await enter(server.url, `reader-${room}`, { path: `/rooms/${room}` });
  await page
    .locator('#log .message')
    .nth(corpus.length - 1)
    .waitFor();
  await page.locator('#log a').first().waitFor();
  expect(await page.locator('#log .text').allTextContents()).toEqual(corpus);
  expect(await page.locator('#log .name').first().textContent()).toBe(`${name} (guest)`);
  for (const link of await page.locator('#log a').all()) {
    expect(await link.getAttribute('href')).toMatch(/^https:\/\/example\.org\//);
    expect(await link.getAttribute('rel')).toBe('noopener noreferrer nofollow ugc');
    expect(await link.getAttribute('target')).toBe('_blank');
    expect((await link.evaluate((element) => element.getAttributeNames())).sort()).toEqual([
      'href',
      'rel',
      'target',
    ]);
  }
  expect(await page.locator('#log img, #log script, #log svg, #log style, #room-lists b').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('what finds links is loaded for the first text that may have some, and moves nothing when it comes late', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer, 40);
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { page, asked, complaints } = await enter(server.url, `reader-${room}`, {
    path: `/rooms/${room}`,
    missing: { name: 'links.js', until },
  });
  await shown(page, 'message 40').waitFor();
  expect(asked).toEqual(['page.js']);
  await writer.post('see https://example.org/ and www.example.org', room);
  await shown(page, 'see https://').waitFor();
  for (let i = 41; i <= 60; i++) await writer.post(`message ${i}`, room);
  await shown(page, 'message 60').waitFor();
  expect(await page.locator('#log a').count()).toBe(0);
  await page.locator('#log:not([aria-live])').waitFor({ state: 'attached' });
  await page.locator('#log .text', { hasText: 'see https://' }).evaluate((line) => line.scrollIntoView());
  const before = await top(page, 'message 45');
  await noteWhatIsReadAloud(page);
  release();
  await page.locator('#log a').nth(1).waitFor();
  expect(await shown(page, 'see ').textContent()).toBe('see https://example.org/ and www.example.org');
  expect(await top(page, 'message 45')).toBe(before);
  expect(await page.getAttribute('#log', 'data-aloud')).toBeNull();
  await writer.post('and https://example.org/2', room);
  await page.locator('#log a[href="https://example.org/2"]').waitFor({ state: 'attached' });
  expect(asked).toEqual(['page.js', 'links.js']);
  expect(complaints).toEqual([]);
});

test('without what finds links, texts stay texts', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer);
  await writer.post('see https://example.org/', room);
  const { page, asked, complaints } = await enter(server.url, `reader-${room}`, {
    path: `/rooms/${room}`,
    missing: { name: 'links.js' },
  });
  await shown(page, 'see https://example.org/').waitFor();
  await waitFor('links.js', () => asked.includes('links.js'));
  await writer.post('and https://example.org/2', room);
  await shown(page, 'and https://example.org/2').waitFor();
  expect(await page.locator('#log a').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('a message that nobody sees rings and notifies whoever wants that, and one that is seen doesn’t', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer);
  const { page, context, complaints } = await enter(server.url, `reader-${room}`, {
    path: `/rooms/${room}`,
    by: whole,
    before: () => {
      const noted: string[] = [];
      Object.assign(globalThis, { noted });
      const { Notification, AudioContext } = globalThis;
      globalThis.Notification = class extends Notification {
        constructor(title: string, options?: NotificationOptions) {
          super(title, options);
          noted.push(`${title}: ${options?.body}`);
        }
      };
      globalThis.AudioContext = class extends AudioContext {
        override createGain() {
          noted.push('ding');
          return super.createGain();
        }
      };
    },
  });
  await context.grantPermissions(['notifications']);
  const noted = () => page.evaluate(() => (globalThis as unknown as { noted: string[] }).noted);
  const look = (isLooking: boolean) =>
    page.evaluate((is) => {
      document.hasFocus = () => is;
      dispatchEvent(new Event(is ? 'focus' : 'blur'));
    }, isLooking);
  /** Posts, and waits beyond the moment in which it would be told of. */
  const hear = async (text: string) => {
    await writer.post(text, room);
    await shown(page, text).waitFor();
    await page.waitForTimeout(600);
  };
  await look(false);
  await hear('unwanted');
  expect(await noted()).toEqual([]);

  await page.click('#open-settings');
  await page.check('#notify');
  await page.check('#sound');
  expect(await noted()).toEqual(['ding']);
  await page.click('#close-settings');
  await look(true);
  await hear('seen');
  expect(await noted()).toEqual(['ding']);
  await look(false);
  // No more than one sound in so long.
  await page.waitForTimeout(1500);
  await hear('unseen');
  expect(await noted()).toEqual(['ding', 'ding', `${writer.user.name} (guest) · ${room}: unseen`]);
  await page.click('#open-settings');
  await page.uncheck('#notify');
  await page.uncheck('#sound');
  await page.waitForTimeout(1500);
  await hear('unwanted again');
  expect((await noted()).length).toBe(3);
  expect(complaints).toEqual([]);
});

test('history is loaded backwards by scrolling, moves nothing that is being read, and isn’t read aloud', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer, 130);
  const { page } = await enter(server.url, `reader-${room}`, { path: `/rooms/${room}` });
  await shown(page, 'message 130').waitFor();
  await noteWhatIsReadAloud(page);
  await page.evaluate(() => {
    (document.getElementById('scroller') as HTMLElement).scrollTop = 150;
  });
  const before = await top(page, 'message 90');
  await shown(page, 'message 35').waitFor({ state: 'attached' });
  expect(Math.abs(((await top(page, 'message 90')) as number) - (before as number))).toBeLessThan(2);
  expect(await page.getAttribute('#log', 'data-aloud')).toBeNull();
  await page.locator('#log:not([aria-live])').waitFor({ state: 'attached' });
  for (let i = 0; i < 4; i++) {
    await page.evaluate(() => {
      (document.getElementById('scroller') as HTMLElement).scrollTop = 0;
    });
    await page.waitForTimeout(100);
  }
  await page.getByText('This is where the room begins.').waitFor();
  expect(await page.locator('#log .message').count()).toBe(130);

  // News doesn't pull down whoever reads back; whoever is at the bottom stays there.
  const there = () => page.evaluate(() => document.getElementById('scroller')?.scrollTop);
  const reading = await there();
  await writer.post('news', room);
  await page.locator('#latest.news').waitFor();
  expect(await there()).toBe(reading);
  await page.click('#latest');
  await writer.post('more news', room);
  await shown(page, 'more news').waitFor();
  await waitFor('the bottom', () => isAtBottom(page));
});

test('what came while one looked elsewhere is counted in list and title, and divided off', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer, 3);
  const { page } = await enter(server.url, `reader-${room}`, { path: `/rooms/${room}` });
  await page.click('#membership');
  await page.locator('#membership', { hasText: 'Leave' }).waitFor();
  await shown(page, 'message 3').waitFor();
  expect(await page.title()).toBe(`${room} · Throughline`);

  await lookAway(page);
  await writer.post('unseen one', room);
  await writer.post('unseen two', room);
  await shown(page, 'unseen two').waitFor();
  await waitFor('the title', async () => (await page.title()) === `(2) ${room} · Throughline`);
  expect(
    await page.locator('#log > *').evaluateAll((lines) => lines.slice(-3).map(({ className }) => className)),
  ).toEqual(['divider unread', 'message', 'message follows']);

  await page.evaluate(() => {
    document.hasFocus = () => true;
    dispatchEvent(new Event('focus'));
  });
  await waitFor('the title', async () => (await page.title()) === `${room} · Throughline`);

  await page.click('[data-room="lobby"]');
  await page.waitForURL(`${server.url}/rooms/lobby`);
  await writer.post('said elsewhere', room);
  await page.locator(`[data-room="${room}"] .badge`, { hasText: '1' }).waitFor();
  expect(await page.title()).toMatch(/^\(1\) /);
  await page.reload();
  await page.locator(`[data-room="${room}"] .badge`, { hasText: '1' }).waitFor();
  await page.click(`[data-room="${room}"]`);
  await shown(page, 'said elsewhere').waitFor();
  await page.locator('.divider.unread + .message', { hasText: 'said elsewhere' }).waitFor();
  await waitFor('the title', async () => (await page.title()) === `${room} · Throughline`);
  await page.goBack();
  await page.locator('#title', { hasText: 'Lobby' }).waitFor();
});

test('a room that was left is no longer followed, and whole when it is opened again', async () => {
  const writer = await Person.logIn(server.url);
  const room = await newRoom(writer, 2);
  const { page } = await enter(server.url, `reader-${room}`, { path: `/rooms/${room}` });
  const link = page.locator(`[aria-labelledby="yourRooms"] [data-room="${room}"]`);
  await page.click('#membership');
  await link.waitFor();
  await page.click('#membership');
  await page.waitForURL(`${server.url}/rooms/lobby`);
  await link.waitFor({ state: 'detached' });
  for (let i = 3; i <= 70; i++) await writer.post(`message ${i}`, room);
  await page.click(`[data-room="${room}"]`);
  await shown(page, 'message 70').waitFor();
  await page.locator('#older-note', { hasText: 'begins' }).waitFor({ state: 'attached' });
  expect(await page.locator('#log .text').allTextContents()).toEqual(
    Array.from({ length: 70 }, (_, i) => `message ${i + 1}`),
  );
});

test('a gap is marked at its place, and what there is after it is shown', async () => {
  await withServer({ windowEntries: 1 }, async ({ url }, { namespace }) => {
    const line = await openLine(url);
    const writer = await Person.logIn(url);
    await writer.post('before the gap');
    const { page } = await enter(line.url, 'Reader');
    await shown(page, 'before the gap').waitFor();
    line.cut();
    await unreachable(page);
    await writer.post('lost one');
    await writer.post('lost two');
    for (const key of await redis.client.keys(`*${namespace}:*:log:main/lobby`))
      await redis.client.xtrim(key, 'MAXLEN', 0);
    await writer.post('after the gap');
    line.restore();
    await shown(page, 'after the gap').waitFor();
    await page.locator('.divider.gap').waitFor();
    const lines = await page.locator('#log .text, #log .divider.gap').allTextContents();
    expect(lines).toEqual(['before the gap', 'Messages may be missing here', 'after the gap']);
    await line.close();
  });
});

test('what is written offline waits, and is there once for everybody when the network is back', async () => {
  const room = await newRoom(await Person.logIn(server.url));
  const line = await openLine(server.url);
  const ada = await enter(line.url, `ada-${room}`, { path: `/rooms/${room}` });
  const bob = await enter(server.url, `bob-${room}`, { path: `/rooms/${room}` });
  line.cut();
  await ada.context.setOffline(true);
  await unreachable(ada.page);
  await write(ada.page, 'written offline');
  await ada.page.locator('#outbox li', { hasText: 'written offline' }).waitFor();
  await write(bob.page, 'said meanwhile');
  line.restore();
  await ada.context.setOffline(false);
  await shown(bob.page, 'written offline').waitFor();
  await shown(ada.page, 'written offline').waitFor();
  await shown(ada.page, 'said meanwhile').waitFor();
  await waitFor('an empty outbox', async () => (await ada.page.locator('#outbox li').count()) === 0);
  expect(await bob.page.locator('#log .message').count()).toBe(2);
  await line.close();
});

test('what was written while the service was down survives a reload, and is said once when it is back', async () => {
  const config = testConfig(redis);
  let own = await startTestServer(config);
  const port = Number(new URL(own.url).port);
  const ada = await enter(own.url, 'Ada');
  await own.close();
  await unreachable(ada.page);
  await write(ada.page, 'said to nobody yet');
  await ada.page.locator('#outbox li', { hasText: 'said to nobody yet' }).waitFor();
  own = await startTestServer({ ...config, port });
  try {
    // The page is there again before its data is: it says so, and waits.
    await ada.context.route('**/api/**', (route) => route.abort());
    await ada.page.reload();
    await ada.page.locator('#waiting', { hasText: 'can’t be reached' }).waitFor();
    await ada.context.unroute('**/api/**');
    await ada.page.locator('#waiting-now').dispatchEvent('click');
    await shown(ada.page, 'said to nobody yet').waitFor();
    await waitFor('an empty outbox', async () => (await ada.page.locator('#outbox li').count()) === 0);
    const bob = await Person.logIn(own.url);
    expect((await bob.history()).events.map(({ text }) => text)).toEqual(['said to nobody yet']);
  } finally {
    await own.close();
  }
});

test('a post that is refused is shown as failed, and can be tried again or discarded', async () => {
  const room = await newRoom(await Person.logIn(server.url), 30);
  const { page, context } = await enter(server.url, `ada-${room}`, { path: `/rooms/${room}` });
  const refusal = { error: { code: 'invalid_field', message: 'text must not rhyme.' } };
  await context.route(
    (url) => url.pathname.endsWith('/messages'),
    (route) =>
      route.request().method() === 'POST' ? route.fulfill({ status: 400, json: refusal }) : route.continue(),
  );
  await write(page, 'one, gone');
  await write(page, 'two, true');
  const failed = page.locator('#outbox .failed');
  await failed.nth(1).waitFor();
  expect(await isAtBottom(page)).toBe(true);
  expect(await page.locator('#said[role="status"]').textContent()).toContain('Not sent: one, gone');
  await failed.first().getByText('Discard').click();
  await page.locator('#outbox li', { hasText: 'one, gone' }).waitFor({ state: 'detached' });
  await context.unroute((url) => url.pathname.endsWith('/messages'));
  await context.unrouteAll();
  await failed.first().getByText('Try again').click();
  await shown(page, 'two, true').waitFor();
  await waitFor('an empty outbox', async () => (await page.locator('#outbox li').count()) === 0);
  expect(await page.locator('#log .message').count()).toBe(31);
});

test('a session that ended brings the door back, says why, and gives back what was being written', async () => {
  const room = await newRoom(await Person.logIn(server.url));
  const { page } = await enter(server.url, `ada-${room}`, { path: `/rooms/${room}` });
  await page.fill('#text', 'half a sent');
  await page.evaluate(() => fetch('/api/session/end', { method: 'POST' }));
  await page.getByText('Your session has ended').waitFor();
  expect(await page.inputValue('#name')).toBe(`ada-${room}`);
  await page.keyboard.press('Enter');
  await page.locator('#text').waitFor();
  await waitFor('the draft', async () => (await page.inputValue('#text')) === 'half a sent');
  await page.fill('#text', 'half a sentence');
  await page.reload();
  await waitFor('the draft', async () => (await page.inputValue('#text')) === 'half a sentence');
});

test('a room that isn’t there is said not to be, with a way to one that is', async () => {
  const { page, complaints } = await enter(server.url, 'Lost', { path: '/' });
  await page.goto(`${server.url}/rooms/nowhere`);
  await page.getByText('There is no room “nowhere”, or it isn’t open to you.').waitFor();
  await page.click('#to-lobby');
  await page.locator('#title', { hasText: 'Lobby' }).waitFor();
  await page.locator('#text').waitFor();
  expect(complaints).toEqual([]);
});

test('each room keeps its draft; the composer grows; Enter belongs to the input method while it composes', async () => {
  const person = await Person.logIn(server.url);
  const room = await newRoom(person);
  const { page } = await enter(server.url, `ada-${room}`);
  const height = async () => (await page.locator('#text').boundingBox())?.height as number;
  const low = await height();
  await page.locator('#text').pressSequentially('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  expect(await page.inputValue('#text')).toBe('one\ntwo');
  expect(await height()).toBeGreaterThan(low + 10);
  await page.locator('#text').dispatchEvent('keydown', { key: 'Enter', isComposing: true });
  await page.locator('#text').dispatchEvent('keydown', { key: 'Enter', keyCode: 229 });
  expect(await page.inputValue('#text')).toBe('one\ntwo');
  await page.click(`[data-room="${room}"]`);
  await page.locator('#title', { hasText: room }).waitFor();
  await waitFor('an empty composer', async () => (await page.inputValue('#text')) === '');
  await page.click('[data-room="lobby"]');
  await waitFor('the draft', async () => (await page.inputValue('#text')) === 'one\ntwo');
  await page.fill('#text', 'x'.repeat(4001));
  await page.getByText('1 characters too many').waitFor();
  await page.keyboard.press('Enter');
  expect((await page.inputValue('#text')).length).toBe(4001);
});

test('everything can be done with the keyboard', async () => {
  const room = `keys-${Date.now()}`;
  const { page } = await enter(server.url, `keys-${Date.now()}`);
  const tabTo = async (id: string) => {
    for (let i = 0; i < 40; i++) {
      if ((await page.evaluate(() => document.activeElement?.id)) === id) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`the keyboard doesn’t get to ${id}`);
  };
  await tabTo('new-room');
  await page.keyboard.press('Enter');
  await page.keyboard.type('Quiet corner');
  expect(await page.inputValue('#room-name')).toBe('quiet-corner');
  await page.fill('#room-name', room);
  await page.keyboard.press('Enter');
  await page.waitForURL(`${server.url}/rooms/${room}`);
  await page.locator('#text:focus').waitFor();
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await shown(page, 'typed').waitFor();
  await tabTo('scroller');
  await tabTo('open-settings');
  await page.keyboard.press('Enter');
  await page.locator('#settings[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#settings[open]').waitFor({ state: 'detached' });
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('open-settings');
  await page.setViewportSize(PHONE.viewport);
  await tabTo('open-rooms');
  await page.keyboard.press('Enter');
  await page.locator('#close-rooms:focus').waitFor();
  expect(await page.evaluate(() => document.getElementById('room')?.hasAttribute('inert'))).toBe(true);
  await page.keyboard.press('Escape');
  await page.locator('#open-rooms:focus').waitFor();
});

test('in a language written from right to left the page is mirrored, and each text keeps its own direction', async () => {
  const { page, complaints } = await enter(server.url, 'سلمى', { locale: 'ar-EG' });
  expect(await page.getAttribute('html', 'dir')).toBe('rtl');
  expect(await page.getAttribute('html', 'lang')).toBe('ar');
  const [rooms, people] = [
    await page.locator('#rooms').boundingBox(),
    await page.locator('#people').boundingBox(),
  ];
  expect(rooms?.x).toBeGreaterThan(people?.x as number);
  await write(page, 'left to right');
  const text = shown(page, 'left to right');
  await text.waitFor();
  expect(await text.evaluate((element) => getComputedStyle(element).direction)).toBe('ltr');
  await page.click('#open-settings');
  await page.selectOption('#language', 'de');
  await page.locator('html[lang="de"][dir="ltr"]').waitFor();
  await page.getByText('Einstellungen', { exact: true }).waitFor();
  await page.reload();
  await page.locator('html[lang="de"]').waitFor();
  expect(complaints).toEqual([]);
});

test('a language that doesn’t come, or not in time, is English, and is tried again when it is chosen', async () => {
  const name = 'strings-de.json';
  for (const until of [undefined, new Promise<void>(() => {})]) {
    const { page, context, complaints } = await visit(server.url, {
      locale: 'de-DE',
      missing: { name, ...(until && { until }) },
    });
    await page.getByText('No account needed.').waitFor();
    expect(await page.getAttribute('html', 'lang')).toBe('en');
    if (!until) {
      await page.fill('#name', `lang-${Date.now()}`);
      await page.keyboard.press('Enter');
      await page.click('#open-settings');
      await context.route(`**/${name}`, (route) => route.fulfill({ body: files.get(name) as string }));
      expect(await page.inputValue('#language')).toBe('en');
      await page.selectOption('#language', 'de');
      await page.getByText('Einstellungen', { exact: true }).waitFor();
    }
    expect(complaints).toEqual([]);
  }
});

describe('axe finds nothing', () => {
  test.each([
    ['light', undefined, 'en'],
    ['dark', undefined, 'en'],
    ['light', PHONE, 'ar'],
    ['dark', PHONE, 'de'],
  ] as const)('in the %s theme (%s, %s)', async (colorScheme, device, locale) => {
    const writer = await Person.logIn(server.url);
    const room = await newRoom(writer, 3);
    const { page, context } = await visit(server.url, {
      // Without notifications part of the settings is shut, and axe passes over that.
      by: whole,
      colorScheme,
      locale,
      path: `/rooms/${room}`,
      ...device,
    });
    await page.locator('#name').waitFor();
    const check = async (where: string) => {
      await page.evaluate(axe.source);
      const violations = await page.evaluate(async () => {
        const { axe } = globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
        };
        return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
      });
      expect({ where, violations }).toEqual({ where, violations: [] });
    };
    await check('the door');
    await page.fill('#name', `axe-${room}`);
    await page.keyboard.press('Enter');
    await shown(page, 'message 3').waitFor();
    await lookAway(page);
    await writer.post('news, see https://example.org/', room);
    await page.locator('.divider.unread').waitFor();
    await context.route('**/messages', (route) =>
      route.fulfill({ status: 400, json: { error: { code: 'invalid_field', message: 'no' } } }),
    );
    await write(page, 'will fail');
    await page.locator('#outbox .failed').waitFor();
    await check('a room');
    if (device) {
      await page.tap('#open-rooms');
      await page.waitForTimeout(300);
      await check('the rooms');
      await page.tap('#open-settings');
    } else await page.click('#open-settings');
    await check('the settings');
  });
});

describe('on a bad day', () => {
  test('a page whose script doesn’t come says so, and leads to the page that needs none', async () => {
    const { page } = await visit(server.url, { missing: { name: 'page.js' }, path: '/rooms/garden' });
    await page.locator('#stopgap .late').waitFor({ timeout: 8000 });
    expect(await page.locator('#stopgap a').evaluate((link: HTMLAnchorElement) => link.pathname)).toBe(
      '/plain/garden',
    );
  });

  test('without script the page leads to the one that needs none, at once', async () => {
    const { page } = await visit(server.url, { javaScriptEnabled: false });
    const link = page.locator('noscript a');
    await link.waitFor();
    await link.click();
    await page.waitForURL('**/plain/lobby');
  });

  test('a browser that keeps nothing and can’t share still chats, and is told what it lacks', async () => {
    const { page, context, complaints } = await enter(server.url, `bare-${Date.now()}`, {
      before: () => {
        for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) {
          Object.defineProperty(globalThis, name, {
            get: () => {
              throw new DOMException('denied', 'SecurityError');
            },
          });
        }
        for (const name of ['BroadcastChannel', 'Notification', 'AudioContext', 'ResizeObserver'])
          Reflect.deleteProperty(globalThis, name);
      },
    });
    await context.route('**/api/rooms/*/messages', (route) =>
      route.request().method() === 'POST' ? route.abort() : route.continue(),
    );
    await write(page, 'said with nothing in hand');
    await page.locator('#outbox .fate', { hasText: 'lost if this page is closed' }).waitFor();
    await context.unrouteAll();
    await shown(page, 'said with nothing in hand').last().waitFor();
    await page.click('#open-settings');
    await page.getByText('This browser keeps nothing for the page').waitFor();
    await page.selectOption('#theme', 'dark');
    await page.locator('html[data-theme="dark"]').waitFor();
    expect(complaints).toEqual([]);
  });

  test('a service that is busy at first is waited for', async () => {
    const { page, context } = await visit(server.url);
    await page.locator('#name').waitFor();
    await context.route('**/api/session', (route) =>
      route.fulfill({ status: 502, body: '<h1>Bad gateway</h1>' }),
    );
    await page.reload();
    await page.locator('#waiting', { hasText: 'answers in the service’s place' }).waitFor();
    await context.unroute('**/api/session');
    await page.locator('#waiting-now').dispatchEvent('click');
    await page.locator('#name').waitFor();
    expect(await page.locator('#waiting').isVisible()).toBe(false);
  });
});
