import { build } from 'esbuild';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { nameFor } from '../src/browser/frame-messages.ts';
import { ar } from '../src/browser/page/strings/ar.ts';
import { de } from '../src/browser/page/strings/de.ts';
import { SCOPES } from '../src/chat/api-keys.ts';
import { MAIN_SITE, parseSite } from '../src/chat/sites.ts';
import { ApiKeys } from '../src/log/api-keys.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { launchChromium } from './support/chromium.ts';
import { KEY, nowS, said, sign } from './support/claims.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const FOLDER = process.env['SCREENSHOTS'];
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

let redis: TestRedis;
let server: RunningServer;
let browser: Browser;
let apiKey: string;
const files = new Map<string, string>();
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis);
  const keys = new Keys(config.namespace);
  const claimKeys = [{ id: 'a', secret: KEY, createdAt: 1 }];
  await new SiteBook(redis.client, keys).put(parseSite({ site: 'main', claimKeys }));
  apiKey = (await new ApiKeys(redis.client, keys).create(MAIN_SITE, { name: 'Orders', scopes: SCOPES }))
    .secret;
  server = await startTestServer(config);
  browser = await launchChromium();
  for (const [name, entry] of [
    ['page.js', 'page/main.ts'],
    ['links.js', 'page/links.ts'],
    ['embed.js', 'embed/main.ts'],
    ['doctor.js', 'doctor/main.ts'],
  ] as const) {
    const built = await build({
      entryPoints: [`src/browser/${entry}`],
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
  await server?.close();
  await redis?.stop();
});

type ContextOptions = NonNullable<Parameters<Browser['newContext']>[0]>;

interface Visit {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Scripts' errors, what the policy forbade, and what `complain` was called with. */
  readonly complaints: string[];
}

/** Opens a page as somebody; or in a window of its own, with what our frame would put into its name. */
async function visit(
  path: string,
  { as, name = '', ...options }: ContextOptions & { as?: Person; name?: string } = {},
): Promise<Visit> {
  const context = await browser.newContext(options);
  contexts.push(context);
  const complaints: string[] = [];
  await context.route(/\/(page|links|embed|doctor)\.js$|\/strings-\w+\.json$/, (route) => {
    const file = new URL(route.request().url()).pathname.split('/').pop() as string;
    const contentType = file.endsWith('.js') ? 'text/javascript' : 'application/json';
    return route.fulfill({ body: files.get(file) as string, contentType });
  });
  await context.route('https://pictures.example/**', (route) =>
    route.request().url().includes('missing')
      ? route.abort()
      : route.fulfill({ body: PICTURE, contentType: 'image/png' }),
  );
  await context.exposeFunction('complain', (what: string) => complaints.push(what));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      (globalThis as unknown as { complain(what: string): void }).complain(
        `${violatedDirective} ${blockedURI}`,
      ),
    );
  });
  if (as) {
    const [cookie = '', value = ''] = as.cookie.split('=');
    await context.addCookies([{ name: cookie, value, url: server.url }]);
  }
  context.on('page', (page) => {
    page.on('pageerror', (error) => complaints.push(String(error.stack)));
    page.on('dialog', (dialog) => {
      complaints.push(dialog.message());
      void dialog.dismiss();
    });
  });
  const page = await context.newPage();
  if (name !== '') {
    await page.goto(`${server.url}/healthz`);
    const popup = page.waitForEvent('popup');
    await page.evaluate(([path, name]) => void open(path, name), [path, name] as const);
    return { page: await popup, context, complaints };
  }
  // The page without script has a frame that goes on loading.
  await page.goto(server.url + path, { waitUntil: path.startsWith('/plain') ? 'domcontentloaded' : 'load' });
  return { page, context, complaints };
}

const live = (page: Page) => page.locator('.status[data-tone="good"]').waitFor();

async function show(page: Page, name: string): Promise<void> {
  if (FOLDER !== undefined) await page.screenshot({ path: `${FOLDER}/${name}.png` });
}

let rooms = 0;
/** A room that the host's server made, and what that server posts and closes. */
async function hostsRoom(title?: string) {
  const room = `room-${++rooms}`;
  const send = async (path: string, body: object) => {
    const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' };
    const res = await fetch(`${server.url}/api${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    if (!res.ok) throw new Error(`${path}: ${res.status} ${await res.text()}`);
  };
  await send('/rooms', { room, ...(title !== undefined && { title }) });
  return {
    room,
    post: (text: string, name: string) => send(`/rooms/${room}/messages`, { text, as: 'bot', name }),
    close: () => send(`/rooms/${room}/close`, {}),
  };
}

const byClaims = (claims: object) => Person.byClaims(server.url, sign(said(claims)));

/** Markup that runs `complain` if anything takes it for markup. None is longer than a name may be. */
const CORPUS = [
  '<script>complain(1)</script>',
  '<img src=x onerror=complain(2)>',
  '"><svg onload=complain(3)>',
  "'><b onclick=complain(4)>x</b>",
  '</title></textarea><i id=hit>',
  '&lt;img src=x onerror=complain(5)&gt;',
  'javascript:complain(6)',
  '${complain(7)}{{complain(7)}}',
  '<style>*{display:none}</style>',
  '--><iframe srcdoc="<script>">',
];

describe('what people, hosts and networks say is text', () => {
  test('in names, ids, titles, texts and pictures: in the page, the frame and the page without script', async () => {
    const { room, post } = await hostsRoom('<img src=x onerror=complain(0)>');
    for (const [i, text] of CORPUS.entries()) {
      const avatar = ['https://pictures.example/"onerror="complain(8)', "/x'onerror='complain(9)", undefined][
        i % 3
      ];
      const known = await byClaims({ id: `${text}${i}`, name: `${text}`, avatar, role: 'moderator' });
      await known.post(`${text} by a user`, room);
      await post(`${text} by a bot`, text);
      const guest = await Person.logIn(server.url, `${text}${i}`.slice(0, 40));
      await guest.post(`${text} by a guest`, room);
      await guest.send('/api/confirm', { rooms: [room] });
    }
    for (const avatar of [
      'javascript:complain(1)',
      'data:image/svg+xml,<svg onload=complain(1)>',
      'http://pictures.example/1.png',
      '//evil.example/1.png',
      '/\\evil.example/1.png',
      'https://a"onerror=complain(1) x=',
      'https://user:pass@pictures.example/',
    ]) {
      const body = { claims: sign(said({ avatar })) };
      const res = await Person.nobody(server.url).send('/api/session', body);
      expect([avatar, await res.json()]).toMatchObject([
        avatar,
        { error: { code: 'claims_malformed', field: 'avatar' } },
      ]);
    }
    const me = await byClaims({
      id: '"><img src=x onerror=complain(10)>',
      name: '<img src=x onerror=complain(11)>',
    });
    const expected = CORPUS.flatMap((text) => ['a user', 'a bot', 'a guest'].map((by) => `${text} by ${by}`));
    const claims = sign(said({ id: 'embedded', name: '</p><img src=x onerror=complain(12)>' }));
    for (const [path, options] of [
      [`/rooms/${room}`, { as: me }],
      [`/embed/main/${room}`, { name: claims }],
    ] as const) {
      const { page, complaints } = await visit(path, options);
      await live(page);
      await page
        .locator('#log .message')
        .nth(expected.length - 1)
        .waitFor();
      expect(await page.locator('#log .text').allTextContents()).toEqual(expected);
      const names = await page.locator('#log .name bdi').allTextContents();
      for (const text of CORPUS) expect(names.filter((name) => name === text).length).toBeGreaterThan(1);
      expect(await page.textContent('#title')).toBe('<img src=x onerror=complain(0)>');
      const odd =
        '#hit, #app script, #app style, #app iframe, #app b, [onerror], [onload], [onclick], a[href^="j"]';
      expect(await page.locator(odd).count()).toBe(0);
      const pictures = await page
        .locator('img')
        .evaluateAll((found) => found.map((one) => (one as HTMLImageElement).src));
      for (const src of pictures)
        expect(src).toMatch(/^https:\/\/pictures\.example\/|^http:\/\/127\.0\.0\.1:\d+\/x'/);
      expect(complaints).toEqual([]);
      await show(page, `corpus${path.replaceAll('/', '-')}`);
    }
    const { page, complaints } = await visit(`/plain/${room}`, { as: me });
    expect(await page.locator('.log .text').allTextContents()).toEqual(expected.slice(-50));
    expect(
      await page.locator('script, svg, i, main img, [onerror], [onload], [onclick], a[href^="j"]').count(),
    ).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('in what a network adds to a request, on the doctor’s page and in its report', async () => {
    const odd = '<img src=x onerror=complain(1)>';
    const { page, complaints } = await visit('/doctor?seconds=2', {
      extraHTTPHeaders: { Via: `1.1 squid ${odd}`, 'X-Forwarded-For': odd, 'CF-Ray': odd },
    });
    await page.locator('#again').waitFor({ timeout: 60_000 });
    expect(await page.locator('main img[src="x"], [onerror]').count()).toBe(0);
    expect(await page.inputValue('#report')).toContain(odd);
    expect(complaints).toEqual([]);
  });
});

describe('a guest is visibly a guest', () => {
  const LONG = 'Wilhelmina Wonderfully-Long-Named Moore';

  test.each([
    ['en', 'guest', 'moderator', 'bot'],
    ['de', 'Gast', 'Moderation', 'Bot'],
    ['ar', 'ضيف', 'مشرف', 'روبوت'],
  ])(
    'in words, in %s, in messages and the roster, however long the name and narrow the page',
    async (lang, guest, moderator, bot) => {
      const { room, post } = await hostsRoom();
      const gus = await Person.logIn(server.url, `${lang} ${LONG}`.slice(0, 40));
      const mo = await byClaims({ id: `mo-${lang}`, name: `Mo ${lang}`, role: 'moderator' });
      const ada = await byClaims({ id: `ada-${lang}`, name: `Ada ${lang}` });
      for (const person of [gus, mo, ada]) {
        await person.post('hello', room);
        await person.send('/api/confirm', { rooms: [room] });
      }
      await post('an order', 'Orders');
      const marks = [` (${guest})`, ` (${moderator})`, '', ` (${bot})`];
      const claims = sign(said({ id: `ada-${lang}`, name: `Ada ${lang}` }));
      const narrow = { viewport: { width: 320, height: 640 }, locale: lang };
      for (const [path, options] of [
        [`/rooms/${room}`, { as: ada, ...narrow }],
        [`/embed/main/${room}`, { name: nameFor({ claims, lang }), ...narrow }],
      ] as const) {
        const { page, complaints } = await visit(path, options);
        await live(page);
        await page.locator('#log .message').nth(3).waitFor();
        expect(await page.locator('#log .name .mark:first-of-type').allTextContents()).toEqual(marks);
        // What is read aloud has it as well.
        expect(await page.locator('#log').ariaSnapshot()).toContain(`${gus.user.name} (${guest})`);
        const mark = page.locator('#log .name .mark').first();
        const [inner, outer] = [
          await mark.boundingBox(),
          await page.locator('#log .message').first().boundingBox(),
        ];
        expect(inner?.width).toBeGreaterThan(10);
        expect(inner?.x).toBeGreaterThanOrEqual(outer?.x as number);
        expect((inner?.x as number) + (inner?.width as number)).toBeLessThanOrEqual(320);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
        await show(page, `guests-${lang}${path.startsWith('/embed') ? '-embed' : ''}`);
        if (path.startsWith('/rooms')) {
          await page.click('#open-people');
          const roster = page.locator('#people-list li', { hasText: gus.user.name });
          await roster.waitFor();
          expect(await roster.innerText()).toContain(`(${guest})`);
          expect((await roster.locator('.mark').boundingBox())?.width).toBeGreaterThan(10);
          await show(page, `roster-${lang}`);
        }
        expect(complaints).toEqual([]);
      }
    },
  );

  test('to themselves, in the page and in the one without script, where bots and moderators are told too', async () => {
    const { room, post } = await hostsRoom();
    const gus = await Person.logIn(server.url, 'Gus');
    const mo = await byClaims({ id: 'mo', name: 'Mo', role: 'moderator' });
    await mo.post('hello', room);
    await gus.post('hello', room);
    await post('an order', 'Orders');
    await mo.send('/api/confirm', { rooms: [room] });
    const { page } = await visit(`/rooms/${room}`, { as: gus });
    await live(page);
    expect(await page.innerText('.me')).toMatch(/Gus\s*\(guest\)/);
    const plain = (await visit(`/plain/${room}`, { as: gus })).page;
    expect(await plain.innerText('.who')).toBe('You are Gus (guest)');
    expect(
      (await plain.locator('.by').allInnerTexts()).map((by) => by.replace(/ \d\d:\d\d UTC$/, '')),
    ).toEqual(['Mo (moderator)', 'Gus (guest)', 'Orders (bot)']);
    const here = (await plain.locator('nav li').allInnerTexts()).map((one) => one.replace(/\s+/g, ' '));
    expect(here).toEqual(expect.arrayContaining(['Mo (moderator)', 'Gus (guest)']));
  });
});

test('a user’s picture is shown where the host names one, and the initials where it can’t be had', async () => {
  const { room } = await hostsRoom();
  for (const file of ['ada.png', 'missing.png']) {
    const person = await byClaims({
      id: file,
      name: file === 'ada.png' ? 'Ada' : 'Missing Picture',
      avatar: `https://pictures.example/${file}`,
    });
    await person.post('hello', room);
  }
  const me = await Person.logIn(server.url);
  const { page, complaints } = await visit(`/rooms/${room}`, { as: me });
  await live(page);
  const avatars = page.locator('#log .avatar');
  await avatars.nth(1).waitFor();
  await waitFor(
    'the picture that isn’t to be had',
    async () => (await page.locator('#log .avatar img').count()) === 1,
  );
  expect(await page.locator('#log .avatar img').getAttribute('src')).toBe('https://pictures.example/ada.png');
  expect(await avatars.nth(1).innerText()).toBe('MP');
  expect(complaints).toEqual([]);
  await show(page, 'pictures');
});

test('a room that is closed while it is read says so, and takes nothing more; what was being written stays', async () => {
  const { room, close } = await hostsRoom();
  const ada = await byClaims({ id: 'closing', name: 'Ada' });
  await ada.post('last word', room);
  const { page } = await visit(`/rooms/${room}`, { as: ada });
  const frame = (await visit(`/embed/main/${room}`, { name: sign(said({ id: 'closing', name: 'Ada' })) }))
    .page;
  for (const one of [page, frame]) {
    await live(one);
    await one.fill('#text', 'a draft');
    expect(await one.isVisible('.closed')).toBe(false);
  }
  await close();
  for (const one of [page, frame]) {
    await one.locator('.closed').waitFor();
    expect(await one.innerText('.closed')).toMatch(/^This room is closed/);
    expect(await one.isEditable('#text')).toBe(false);
    expect(await one.inputValue('#text')).toBe('a draft');
    expect(await one.getAttribute('#send', 'aria-disabled')).toBe('true');
    await one.press('#text', 'Enter');
    await show(one, one === page ? 'closed' : 'closed-embed');
  }
  // Whoever comes later is told as well, also without script.
  await page.reload();
  await page.locator('.closed').waitFor();
  const plain = (await visit(`/plain/${room}`, { as: ada })).page;
  expect(await plain.innerText('main')).toContain('This room is closed');
  expect(await plain.locator('textarea').count()).toBe(0);
  await page.goto(`${server.url}/rooms/lobby`);
  await live(page);
  expect(await page.isVisible('.closed')).toBe(false);
  expect(await page.isEditable('#text')).toBe(true);
  expect((await ada.history('', room)).events.map(({ text }) => text)).toEqual(['last word']);
});

test.each([
  ['en', /^The chat doesn’t accept what this site says of you/],
  ['de', /^Der Chat nimmt nicht an/],
  ['ar', /^لا تقبل الدردشة/],
])('claims that are no good are told of at once, in words, in %s', async (lang, words) => {
  let asked = 0;
  const claims = sign(said(), 'clk_another');
  const { page } = await visit('/embed/main/lobby', { name: nameFor({ claims, lang }) });
  page.on('request', (request) => {
    if (request.url().includes('/api/session') && request.method() === 'POST') asked++;
  });
  await waitFor('the words', async () => words.test(await page.innerText('#door-alert')));
  // What can't pass isn't tried again.
  await page.waitForTimeout(3000);
  expect(asked).toBeLessThanOrEqual(1);
});

test('a room that is shut to somebody costs them that room, and not the others', async () => {
  const { room } = await hostsRoom();
  const iat = nowS();
  const claims = (list: string[], ago: number) =>
    said({ id: 'shut', rooms: list, iat: iat - ago, exp: iat + 300 });
  const ada = await Person.byClaims(server.url, sign(claims(['*'], 9)));
  await ada.send(`/api/rooms/${room}/join`, {});
  const { page } = await visit('/rooms/lobby', { as: ada });
  await live(page);
  await page.locator(`#room-lists [data-room="${room}"]`).waitFor();
  await Person.byClaims(server.url, sign(claims(['lobby'], 5)));
  await page.locator(`#room-lists [data-room="${room}"]`).waitFor({ state: 'detached' });
  await live(page);
  const gus = await Person.logIn(server.url);
  await gus.post(`after ${room}`, 'lobby');
  await page.locator('#log .text', { hasText: `after ${room}` }).waitFor();
  await page.goto(`${server.url}/rooms/${room}`);
  await page.getByText('or it isn’t open to you').waitFor();
});
