import { createServer } from 'node:net';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Frame, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { endOfClaims } from '../src/browser/embed/claims.ts';
import { isLight } from '../src/browser/embed/colour.ts';
import { type GivenTo, givenIn, takeGiven } from '../src/browser/embed/given.ts';
import { placeOfPath } from '../src/browser/embed/place.ts';
import { keptCookies } from '../src/browser/embed/session.ts';
import { nameFor } from '../src/browser/frame-messages.ts';
import { claimsIn } from '../src/browser/widget/renewal.ts';
import { parseSite } from '../src/chat/sites.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { launchChromium, launchStrictChromium, launchWholeChromium } from './support/chromium.ts';
import { KEY, nowS, said, sign } from './support/claims.ts';
import { type Front, openFront } from './support/embed-front.ts';
import { type HostSite, openHostSite } from './support/host-site.ts';
import { NASTY } from './support/nasty-pages.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let redis: TestRedis;
let server: RunningServer;
/** The host site, of another site than the service as browsers see it; the same under a name of the service's own. */
let host: HostSite;
let front: Front;
let browser: Browser;
/** A browser whose owner blocks third-party cookies. */
let strict: Browser;
let reader: Person;
const files = new Map<string, string>();
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis);
  host = await openHostSite();
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  const origins = [host.origin, `http://127.0.0.1:${host.port}`];
  const claimKeys = [{ id: 'a', secret: KEY, createdAt: 1 }];
  await sites.put(parseSite({ site: 'shop', origins, claimKeys }));
  await sites.put(parseSite({ site: 'club', origins, claimKeys }));
  await sites.put(parseSite({ site: 'foreign', origins: ['https://foreign.example'], claimKeys }));
  await sites.put(parseSite({ site: 'members', origins, guests: 'refused' }));
  server = await startTestServer(config);
  reader = await Person.logIn(server.url, 'Reader', 'shop');
  for (const name of ['embed', 'widget']) {
    const built = await build({
      entryPoints: [`src/browser/${name}/main.ts`],
      bundle: true,
      format: 'iife',
      target: 'es2017',
      charset: 'utf8',
      write: false,
    });
    files.set(`${name}.js`, built.outputFiles[0]?.text as string);
  }
  browser = await launchChromium();
  strict = await launchStrictChromium();
});
beforeEach(async () => {
  front = await openFront(server.url, files);
});
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
  host.pages.clear();
  await front.close();
});
afterAll(async () => {
  await browser?.close();
  await strict?.close();
  await server?.close();
  await host?.close();
  await redis.stop();
});

/** Claims as a host makes them. */
const claimsOf = (id: string, name: string, site = 'shop') => sign(said({ site, id, name }));

interface HostPage {
  readonly head?: string;
  readonly body?: string;
  readonly doctype?: string;
  readonly csp?: string;
}

/** Puts a page of the host site at a path: with a button at each corner, and a link whose clicks are counted. */
function putPage(path: string, { head = '', body = '', doctype = '<!doctype html>', csp }: HostPage): void {
  host.pages.set(path, (_req, res) => {
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    if (csp) res.setHeader('Content-Security-Policy', csp);
    res.end(`${doctype}<html><head><title>Shop</title><link rel="icon" href="data:,">${head}</head>
      <body><p>An old shop.</p>
      <button id="corner">Order</button>${body}<p>Its end.</p></body></html>`);
  });
}

const scriptOf = (attributes: Record<string, string>, url = front.url) =>
  `<script src="${url}/widget.js" async ${Object.entries({ site: 'shop', ...attributes })
    .map(([name, value]) => `data-${name}="${value}"`)
    .join(' ')}></script>`;

interface Visit {
  readonly page: Page;
  readonly complaints: string[];
}

/** Opens a page, noting its scripts' errors, its console's, and what its policy forbade. */
async function visit(url: string, by: Browser = browser): Promise<Visit> {
  const context = await by.newContext({ viewport: { width: 1000, height: 720 } });
  contexts.push(context);
  const complaints: string[] = [];
  await context.exposeFunction('complain', (what: string) => complaints.push(what));
  await context.addInitScript(() => {
    const { complain } = globalThis as unknown as { complain(what: string): void };
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      complain(`${violatedDirective} ${blockedURI}`),
    );
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

/** The frame with the chat in it. */
const frameOf = (page: Page): Promise<Frame> =>
  waitFor('the frame', () => page.frames().find((frame) => frame.url().includes('/embed/')));

/** The frame, with somebody live in it. */
async function liveIn(page: Page): Promise<Frame> {
  const frame = await frameOf(page);
  await frame.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
  return frame;
}

/** What is at a point of the page, by tag and id: what a click there would reach. */
const hitAt = (page: Page, x: number, y: number) =>
  page.evaluate(
    ([x, y]) => {
      const hit = document.elementFromPoint(x as number, y as number);
      return `${hit?.tagName}${hit?.id && `#${hit.id}`}`;
    },
    [x, y],
  );

/** Where the bubble is, in a page of 1000 by 720. */
const BUBBLE = [1000 - 48, 720 - 48] as const;

const clickBubble = (page: Page) => page.mouse.click(...BUBBLE);

const bubbleIsThere = (page: Page) =>
  waitFor('the bubble', async () => (await hitAt(page, ...BUBBLE)).startsWith('DIV'));

async function say(frame: Frame, text: string): Promise<void> {
  // What is entered before the room is there stays in its field.
  await waitFor(`“${text}” to be taken`, async () => {
    await frame.fill('#text', text);
    await frame.press('#text', 'Enter');
    return (await frame.inputValue('#text')) !== text;
  });
  await waitFor(`“${text}” to be in the log`, async () =>
    JSON.stringify((await reader.history()).events).includes(text),
  );
}

describe('the embed page', () => {
  const policyOf = async (path: string) => {
    const res = await fetch(server.url + path);
    return {
      status: res.status,
      csp: res.headers.get('content-security-policy') ?? '',
      headers: res.headers,
    };
  };

  test('may be framed by its site’s origins and no other, and is as strict as the page besides', async () => {
    const shop = await policyOf('/embed/shop/lobby');
    expect(shop.status).toBe(200);
    expect(shop.csp).toContain(`frame-ancestors 'self' ${host.origin} http://127.0.0.1:${host.port}`);
    expect(shop.csp).toContain("default-src 'none'");
    expect(shop.csp).not.toMatch(/unsafe|\*/);
    expect(shop.headers.get('x-frame-options')).toBeNull();
    const main = await policyOf('/embed/main/lobby');
    expect(main.csp).toMatch(/frame-ancestors 'self'(;|$)/);
    expect((await policyOf('/rooms/lobby')).csp).toContain("frame-ancestors 'none'");
    expect((await policyOf('/embed/nobody/lobby')).status).toBe(404);
    expect((await policyOf('/embed/Bad!/lobby')).status).toBe(400);
  });

  test('is in no foreign origin’s page', async () => {
    putPage('/clickjack', {
      body: `<iframe src="${front.url}/embed/shop/lobby" width="400" height="500"></iframe>`,
    });
    const { page, complaints } = await visit(`http://evil.localhost:${host.port}/clickjack`);
    await waitFor('the refusal', () => complaints.some((line) => line.includes('frame-ancestors')));
    expect(page.frames().some((frame) => frame.url().includes('/embed/'))).toBe(false);
  });

  test.each([
    ['where cookies of other sites are let be', () => browser],
    ['where third-party cookies are blocked', () => strict],
  ])('works as an iframe alone, with the claims in its name, %s', async (_name, by) => {
    const claims = claimsOf('u1', 'Ada');
    putPage('/iframe', {
      body: `<iframe src="${front.url}/embed/shop/lobby" name="${claims}" width="400" height="500"></iframe>`,
    });
    const { page, complaints } = await visit(`${host.origin}/iframe`, by());
    const frame = await liveIn(page);
    await say(frame, `over a token ${_name}`);
    expect(await frame.evaluate(() => window.name)).toBe('');
    expect(await frame.evaluate(() => document.cookie)).toBe('');
    expect(front.exchanges.token).toBe(1);
    // Neither claims nor tokens are in a URL.
    expect(front.urls.join('\n')).not.toMatch(/tlt_|eyJ/);
    expect(complaints).toEqual([]);
  });

  test('uses the cookie where the page and the service are of one site', async () => {
    putPage('/iframe', {
      body: `<iframe src="${front.url}/embed/shop/lobby" name="${claimsOf('u1', 'Ada')}"></iframe>`,
    });
    const { page } = await visit(`http://127.0.0.1:${host.port}/iframe`);
    await liveIn(page);
    expect(front.exchanges).toEqual({ cookie: 1, token: 0 });
  });

  test('lets guests in where their cookie is kept, and says what to do where it isn’t', async () => {
    putPage('/iframe', {
      body: `<iframe src="${front.url}/embed/shop/lobby" width="400" height="500"></iframe>`,
    });
    const near = await visit(`http://127.0.0.1:${host.port}/iframe`);
    const nearFrame = await frameOf(near.page);
    await nearFrame.fill('#name', 'Grace');
    await nearFrame.press('#name', 'Enter');
    await liveIn(near.page);
    await say(nearFrame, 'as a guest');

    const far = await visit(`${host.origin}/iframe`, strict);
    const farFrame = await frameOf(far.page);
    await farFrame.fill('#name', 'Alan');
    await farFrame.press('#name', 'Enter');
    await farFrame.waitForSelector('#door-alert:has-text("keeps no cookie")');
    expect(await farFrame.isVisible('#allow')).toBe(true);
    expect(await farFrame.isVisible('#door .pop-out')).toBe(true);
  });

  test.each([true, false])(
    'asks the browser for its cookie at a click, which says yes: %s',
    async (isGranted) => {
      const context = await strict.newContext();
      contexts.push(context);
      await context.addInitScript((isGranted) => {
        document.requestStorageAccess = () =>
          isGranted ? Promise.resolve() : Promise.reject(new DOMException('no', 'NotAllowedError'));
      }, isGranted);
      putPage('/iframe', {
        body: `<iframe src="${front.url}/embed/shop/lobby" width="400" height="500"></iframe>`,
      });
      const page = await context.newPage();
      await page.goto(`${host.origin}/iframe`);
      const frame = await frameOf(page);
      await frame.fill('#name', `Alan, ${isGranted}`);
      await frame.press('#name', 'Enter');
      await frame.waitForSelector('#door-alert:has-text("keeps no cookie")');
      const asked = () => front.urls.filter((url) => url.startsWith('/api/session')).length;
      const before = asked();
      await frame.click('#allow');
      await frame.waitForFunction(
        () => !document.querySelector('#door-alert')?.textContent?.includes('keeps no cookie'),
      );
      // Where it may have one now, it looks whether somebody is logged in; and else leaves the door as it is.
      expect(asked() - before).toBe(isGranted ? 1 : 0);
      expect((await frame.textContent('#door-alert')) === '').toBe(isGranted);
      expect(await frame.isVisible('#name')).toBe(true);
    },
  );

  test.each(['a link', 'window.open'])(
    'logs nobody in by %s of a page that isn’t the site’s',
    async (how) => {
      const claims = claimsOf('mallory', 'Mallory', 'foreign');
      const url = `${front.url}/embed/foreign/lobby`;
      putPage('/', { body: `<a id="go" href="${url}" target="${claims}">A present</a>` });
      const { page } = await visit(`${host.origin}/`);
      const popup = page.waitForEvent('popup');
      if (how === 'a link') await page.click('#go');
      else await page.evaluate(([url, claims]) => void open(url, claims), [url, claims] as const);
      const own = await popup;
      await own.waitForSelector('#name:visible');
      expect(await own.evaluate(() => [window.name, window.opener])).toEqual(['', null]);
      expect(front.exchanges).toEqual({ cookie: 0, token: 0 });
    },
  );

  test('keeps what users of different sites write apart, though they have the same id', async () => {
    const frameIn = (site: string) => ({
      body: `<iframe src="${front.url}/embed/${site}/lobby" name="${claimsOf('u20', 'Ada', site)}" width="400" height="500"></iframe>`,
    });
    putPage('/shop', frameIn('shop'));
    putPage('/club', frameIn('club'));
    const near = `http://127.0.0.1:${host.port}`;
    const { page } = await visit(`${near}/shop`);
    const written = async () => {
      const frame = await liveIn(page);
      await frame.waitForFunction(() => document.querySelector('#text')?.getAttribute('aria-label'));
      return { frame, text: await frame.inputValue('#text') };
    };
    await (await written()).frame.fill('#text', 'for the shop alone');
    await page.goto(`${near}/club`);
    expect((await written()).text).toBe('');
    await page.goto(`${near}/shop`);
    expect((await written()).text).toBe('for the shop alone');
  });

  test('has no door for guests where the site refuses them', async () => {
    putPage('/iframe', { body: `<iframe src="${front.url}/embed/members/lobby"></iframe>` });
    const { page } = await visit(`http://127.0.0.1:${host.port}/iframe`);
    const frame = await frameOf(page);
    await frame.waitForSelector('#members-only');
    expect(await frame.isVisible('#name')).toBe(false);
  });

  test('leads to its room’s plain page without script, where there is one', async () => {
    const linkIn = async (path: string) =>
      /<noscript>.*href="([^"]*)"/.exec(await (await fetch(server.url + path)).text())?.[1];
    expect(await linkIn('/embed/main/garden')).toBe('../../plain/garden');
    expect(await linkIn('/embed/shop/garden')).toBeUndefined();
    const context = await browser.newContext({ javaScriptEnabled: false });
    contexts.push(context);
    const page = await context.newPage();
    await page.goto(`${server.url}/embed/shop/lobby`);
    expect(await page.locator('noscript').innerText()).toContain('needs script');
  });

  test('opens itself in a window of its own, as the same user', async () => {
    putPage('/iframe', {
      body: `<iframe src="${front.url}/embed/shop/lobby" name="${claimsOf('u1', 'Ada')}" width="400" height="500"></iframe>`,
    });
    const { page } = await visit(`${host.origin}/iframe`);
    const frame = await liveIn(page);
    const popup = page.waitForEvent('popup');
    await frame.click('.bar .pop-out');
    const own = await popup;
    await own.waitForSelector('.status[data-tone="good"]');
    expect(await own.evaluate(() => [window.name, window.opener, document.referrer])).toEqual(['', null, '']);
    expect(front.urls.join('\n')).not.toMatch(/tlt_|eyJ/);
  });
});

describe('the widget', () => {
  const open = (page: Page) => page.evaluate(() => Reflect.get(window, 'Throughline').open());

  test('is a bubble that opens, tells of what is unread, and closes', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u2', 'Ada'), color: '#7a1f5c', lang: 'de' }) });
    const { page, complaints } = await visit(`${host.origin}/`);
    await page.evaluate(() => {
      const told: string[] = [];
      Reflect.set(window, 'told', told);
      for (const name of ['open', 'close', 'unread'])
        document.addEventListener(`throughline:${name}`, (event) =>
          told.push(`${name} ${JSON.stringify((event as CustomEvent).detail)}`),
        );
    });
    const told = () => page.evaluate(() => Reflect.get(window, 'told') as string[]);
    await bubbleIsThere(page);
    const frame = await liveIn(page);
    // Where the open chat will be, the page still takes the clicks.
    expect(await hitAt(page, 800, 400)).not.toMatch(/^DIV/);
    await reader.post('Anybody there?');
    await waitFor('the badge', async () => (await told()).includes('unread {"count":1}'));
    await clickBubble(page);
    await waitFor('all to be read', async () => (await told()).includes('unread {"count":0}'));
    expect(await hitAt(page, 800, 400)).toMatch(/^DIV/);
    await say(frame, 'Yes, here.');
    await frame.press('#text', 'Escape');
    await waitFor('the close', async () => (await told()).includes('close null'));
    expect(await hitAt(page, 800, 400)).not.toMatch(/^DIV/);
    expect((await told()).filter((line) => line.startsWith('open'))).toHaveLength(1);
    expect(complaints).toEqual([]);
  });

  test('is inline where the page says so, and nothing is heard from other origins', async () => {
    putPage('/', {
      head: scriptOf({ claims: claimsOf('u3', 'Ada'), mode: 'inline', target: '#chat', height: '400' }),
      body: '<div id="chat"></div>',
    });
    const { page } = await visit(`${host.origin}/`);
    const frame = await liveIn(page);
    await waitFor('its height', async () =>
      page.evaluate(() => document.getElementById('chat')?.getBoundingClientRect().height === 400),
    );
    await frame.waitForSelector('#text');
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('BODY');
    // A page that isn't the frame can't speak for it, nor one that isn't the host page to it.
    await page.evaluate(() => postMessage({ throughline: 'close' }, '*'));
    await frame.evaluate(() => postMessage({ throughline: 'reset' }, '*'));
    await say(frame, 'still there');
  });

  test.each([
    ['in quirks mode', { doctype: '', head: NASTY.quirks }],
    ['beside Bootstrap', { head: NASTY.bootstrap }],
    ['beside Prototype.js', { head: NASTY.prototype }],
    ['beside jQuery', { head: NASTY.jquery }],
    ['beside MooTools', { head: NASTY.mooTools }],
  ])('leaves the page as it is %s', async (_name, nasty) => {
    putPage('/without', nasty);
    putPage('/', { ...nasty, head: nasty.head + scriptOf({ claims: claimsOf('u4', 'Ada') }) });
    const globals = (page: Page) => page.evaluate(() => Object.getOwnPropertyNames(window));
    const without = await visit(`${host.origin}/without`);
    const { page, complaints } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    const before = await globals(without.page);
    expect((await globals(page)).filter((name) => !before.includes(name))).toEqual(['Throughline']);
    await page.click('#corner', { timeout: 10_000 });
    await clickBubble(page);
    const frame = await liveIn(page);
    await say(frame, `beside what is there ${_name}`);
    const box = await (await frame.frameElement()).boundingBox();
    expect(box).toMatchObject({ width: 380, height: 600 });
    expect(complaints).toEqual([]);
  });

  test('needs of a strict policy no more than its script and its frame', async () => {
    putPage('/', {
      head: scriptOf({ claims: claimsOf('u5', 'Ada') }),
      csp: `default-src 'none'; script-src ${front.url}; frame-src ${front.url}; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'`,
    });
    const { page, complaints } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await open(page);
    await say(await liveIn(page), 'under a strict policy');
    expect(complaints).toEqual([]);
  });

  test('works where third-party cookies are blocked', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u6', 'Ada') }) });
    const { page, complaints } = await visit(`${host.origin}/`, strict);
    await bubbleIsThere(page);
    await open(page);
    await say(await liveIn(page), 'without cookies');
    expect(complaints).toEqual([]);
  });

  test('tries the host again until it vouches for the user, follows another user, and ends with the host’s session', async () => {
    const answers: (() => [number, string])[] = [
      () => [500, 'database on fire'],
      () => [200, '<p>nonsense</p>'],
      () => [200, JSON.stringify({ claims: claimsOf('u7', 'Ada') })],
      () => [200, claimsOf('u8', 'Grace')],
      () => [401, ''],
    ];
    const asked: string[] = [];
    host.pages.set('/chat-claims', (req, res) => {
      asked.push(`${req.method} ${req.headers['sec-fetch-site']}`);
      const [status, body] = (answers.shift() ?? (() => [401, '']))();
      res.writeHead(status, { 'Cache-Control': 'no-store' }).end(body);
    });
    // Their tokens end soon, so that others are asked for.
    front.tokenLifeMs = 4000;
    putPage('/', { head: scriptOf({ 'auth-url': '/chat-claims' }) });
    const { page } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await open(page);
    const frame = await liveIn(page);
    await say(frame, 'said by Ada');
    await waitFor('Grace', async () => asked.length >= 4);
    await waitFor('the end', async () => asked.length >= 5);
    await frame.waitForSelector('#door-alert:has-text("ended")');
    expect(asked).toEqual(Array(5).fill('POST same-origin'));
    expect(front.exchanges.token).toBe(2);
  });

  test('changes user, and logs out, when the page says so', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u9', 'Ada') }) });
    const { page } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await open(page);
    const frame = await liveIn(page);
    await say(frame, 'I am u9');
    await page.evaluate(
      (claims) => Reflect.get(window, 'Throughline').setUser(claims),
      claimsOf('u10', 'Grace'),
    );
    await waitFor('the other user', () => front.exchanges.token === 2);
    // What was said before is there again, as somebody else's: only then may this user write.
    await frame.waitForFunction(() => document.querySelector('.message') && !document.querySelector('.own'));
    await say(frame, 'I am u10');
    const { events } = await reader.history();
    expect(events.slice(-2).map(({ user }) => (user as { name: string }).name)).toEqual(['Ada', 'Grace']);
    await page.evaluate(() => Reflect.get(window, 'Throughline').reset());
    await frame.waitForSelector('#door');
  });

  /** Who is logged in at the site in a page's browser. */
  const whoIsIn = async (page: Page) =>
    (
      (await (await page.context().request.get(`${front.url}/api/session?site=shop`)).json()) as {
        user: unknown;
      }
    ).user;
  const endings = () => front.urls.filter((url) => url.startsWith('/api/session/end')).length;

  test('asks the host who its user is, whoever was logged in here before', async () => {
    const near = `http://127.0.0.1:${host.port}`;
    const answers: [number, string][] = [
      [200, claimsOf('u22', 'Bob')],
      [401, ''],
      [401, ''],
    ];
    host.pages.set('/who', (_req, res) => {
      const [status, body] = answers.shift() ?? [500, ''];
      res.writeHead(status, { 'Cache-Control': 'no-store' }).end(body);
    });
    putPage('/claims', { head: scriptOf({ claims: claimsOf('u21', 'Ada') }) });
    putPage('/', { head: scriptOf({ 'auth-url': '/who' }) });
    const { page } = await visit(`${near}/claims`);
    await bubbleIsThere(page);
    await liveIn(page);
    expect(await whoIsIn(page)).toMatchObject({ id: 'u21' });
    await page.goto(`${near}/`);
    await bubbleIsThere(page);
    await open(page);
    await say(await liveIn(page), 'I am u22');
    const { events } = await reader.history();
    expect(events.at(-1)).toMatchObject({ text: 'I am u22', user: { id: 'u22' } });
    // Logged out at the host.
    await page.goto(`${near}/`);
    await bubbleIsThere(page);
    await open(page);
    const frame = await frameOf(page);
    await frame.waitForSelector('#name:visible');
    expect(await whoIsIn(page)).toBeNull();
    // A guest is nobody that the host could vouch for.
    await frame.fill('#name', `Gina ${Date.now()}`);
    await frame.press('#name', 'Enter');
    await liveIn(page);
    await page.goto(`${near}/`);
    await bubbleIsThere(page);
    await open(page);
    await liveIn(page);
    expect(await whoIsIn(page)).toMatchObject({ guest: true });
    expect(answers).toEqual([]);
  });

  test('is logged out by a reset, though a log-in is under way', async () => {
    front.delayMs = 1500;
    putPage('/', { head: scriptOf({ claims: claimsOf('u23', 'Ada') }) });
    const { page } = await visit(`http://127.0.0.1:${host.port}/`);
    await bubbleIsThere(page);
    await waitFor('the log-in', () => front.exchanges.cookie === 1);
    await page.evaluate(() => Reflect.get(window, 'Throughline').reset());
    await waitFor('the log-out', () => endings() === 1);
    await (await frameOf(page)).waitForSelector('#name', { state: 'attached' });
    await waitFor('nobody', async () => (await whoIsIn(page)) === null);
    expect(front.exchanges).toEqual({ cookie: 1, token: 0 });
  });

  test('that another page of the browser resets stays out', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u24', 'Ada') }) });
    const { page } = await visit(`http://127.0.0.1:${host.port}/`);
    const other = await page.context().newPage();
    await other.goto(page.url());
    for (const tab of [page, other]) {
      await bubbleIsThere(tab);
      await open(tab);
      await liveIn(tab);
    }
    expect(front.exchanges.cookie).toBe(2);
    await page.evaluate(() => Reflect.get(window, 'Throughline').reset());
    const asked = front.urls.length;
    await (await frameOf(other)).waitForSelector('#name:visible');
    // It has looked whether somebody else is logged in by now.
    await waitFor('a look', () => front.urls.slice(asked).some((url) => url.startsWith('/api/session?')));
    await (await frameOf(other)).waitForSelector('#name:visible');
    expect(await whoIsIn(page)).toBeNull();
    expect(front.exchanges.cookie).toBe(2);
  });

  test('keeps what is typed while the room is still being opened', async () => {
    putPage('/', {
      head: scriptOf({ claims: claimsOf('u12', 'Ada'), mode: 'inline', target: '#chat' }),
      body: '<div id="chat"></div>',
    });
    const context = await browser.newContext();
    contexts.push(context);
    let goOn = () => {};
    const typed = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    await context.route(/\/api\/rooms(\?|$)/, async (route) => {
      await typed;
      await route.continue();
    });
    const page = await context.newPage();
    await page.goto(`${host.origin}/`);
    const frame = await frameOf(page);
    await frame.fill('#text', 'early');
    goOn();
    await liveIn(page);
    await frame.waitForFunction(() => document.querySelector('#text')?.getAttribute('aria-label'));
    expect(await frame.inputValue('#text')).toBe('early');
  });

  test('follows a name that changes, of the same user', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u11', 'Ada') }) });
    const { page } = await visit(`http://127.0.0.1:${host.port}/`);
    await bubbleIsThere(page);
    await open(page);
    const frame = await liveIn(page);
    await say(frame, 'as Ada');
    await page.evaluate(
      (claims) => Reflect.get(window, 'Throughline').setUser(claims),
      claimsOf('u11', 'Countess'),
    );
    await waitFor('the other name', () => front.exchanges.cookie === 2);
    await liveIn(page);
    await say(frame, 'as Countess');
    await frame.waitForSelector('.message:has-text("as Countess"):has-text("Countess")');
    const { events } = await reader.history();
    expect(events[events.length - 1]).toMatchObject({ user: { name: 'Countess' } });
  });

  test('asks the host again while what it says of the user is too new, and lets the user in at last', async () => {
    const early = () => sign(said({ site: 'shop', id: 'u12', iat: nowS() + 300, exp: nowS() + 600 }));
    const answers = [early, early, early, early];
    let asked = 0;
    host.pages.set('/chat-claims', (_req, res) => {
      asked++;
      res.end((answers.shift() ?? (() => claimsOf('u12', 'Ada')))());
    });
    putPage('/', { head: scriptOf({ claims: early(), 'auth-url': '/chat-claims' }) });
    const { page } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await open(page);
    const frame = await frameOf(page);
    // It has gone wrong often enough to be told, and is still tried.
    await frame.waitForSelector('#door-alert:has-text("doesn’t accept")');
    await say(await liveIn(page), 'vouched for at last');
    expect(asked).toBe(5);
  });

  test('is put again when the page’s body is another, with what its script says there', async () => {
    putPage('/', { body: scriptOf({ claims: claimsOf('u13', 'Ada') }) });
    const { page, complaints } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await liveIn(page);
    /** As Turbolinks does: a body made anew, with its scripts run, beside a copy of what was there. */
    const swap = (attributes: Record<string, string>) =>
      page.evaluate(
        ([url, attributes]) => {
          const body = document.createElement('body');
          for (const left of document.querySelectorAll('body > div')) body.append(left.cloneNode(true));
          const script = document.createElement('script');
          script.src = `${url}/widget.js`;
          for (const [name, value] of Object.entries(attributes)) script.setAttribute(`data-${name}`, value);
          body.append(document.createElement('p'), script);
          document.body.replaceWith(body);
        },
        [front.url, attributes] as const,
      );
    await page.evaluate(() => {
      const told: number[] = [];
      Reflect.set(window, 'told', told);
      Reflect.get(window, 'Throughline').on('open', () => told.push(1));
    });
    await swap({ site: 'shop', room: 'other', claims: claimsOf('u14', 'Grace') });
    await waitFor('the other room', () =>
      page.frames().some((frame) => frame.url().endsWith('/embed/shop/other')),
    );
    await swap({ site: 'shop', claims: claimsOf('u15', 'Grace') });
    await waitFor('the room', () => page.frames().some((frame) => frame.url().endsWith('/embed/shop/lobby')));
    await bubbleIsThere(page);
    await clickBubble(page);
    await say(await liveIn(page), 'in the page that came next');
    const { events } = await reader.history();
    expect(events[events.length - 1]).toMatchObject({ user: { id: 'u15' } });
    expect(page.frames()).toHaveLength(2);
    expect(await page.evaluate(() => document.querySelectorAll('body > div').length)).toBe(1);
    expect(await page.evaluate(() => Reflect.get(window, 'told'))).toEqual([1]);
    expect(complaints).toEqual([]);
  });

  test('works in a page that comes back from the back/forward cache', async () => {
    const keeping = await launchWholeChromium([], { ignoreDefaultArgs: ['--disable-back-forward-cache'] });
    try {
      putPage('/', { head: scriptOf({ claims: claimsOf('u16', 'Ada') }) });
      putPage('/next', {});
      const { page } = await visit(`${host.origin}/`, keeping);
      await bubbleIsThere(page);
      await open(page);
      await liveIn(page);
      await page.evaluate(() => {
        addEventListener('pageshow', ({ persisted }) => Reflect.set(window, 'isKept', persisted));
      });
      await page.goto(`${host.origin}/next`);
      // What is kept isn't loaded, so nothing but its being there tells of it.
      await page.goBack({ waitUntil: 'commit' });
      await waitFor('the page', async () => page.evaluate(() => 'Throughline' in window));
      expect(await page.evaluate(() => Reflect.get(window, 'isKept'))).toBe(true);
      // Of its frames the driver knows nothing any more; what they tell is heard in the page.
      await page.evaluate(() => {
        const { close, on } = Reflect.get(window, 'Throughline');
        on('unread', ({ count }: { count: number }) => Reflect.set(window, 'unread', count));
        close();
      });
      await reader.post('Back again?');
      await waitFor('word of the message', async () =>
        page.evaluate(() => Reflect.get(window, 'unread') === 1),
      );
    } finally {
      await keeping.close();
    }
  });

  test('is whole again after a reload of its frame alone', async () => {
    putPage('/', { head: scriptOf({ claims: claimsOf('u17', 'Ada'), color: '#7a1f5c' }) });
    const { page, complaints } = await visit(`${host.origin}/`, strict);
    await bubbleIsThere(page);
    await open(page);
    const before = await liveIn(page);
    await before.evaluate(() => setTimeout(() => location.reload()));
    const frame = await waitFor('another frame', () =>
      page.frames().find((one) => one !== before && one.url().includes('/embed/')),
    );
    await frame.waitForSelector('.status[data-tone="good"]', { state: 'attached' });
    await say(frame, 'after a reload');
    expect(await frame.evaluate(() => document.documentElement.hasAttribute('data-brand'))).toBe(true);
    await frame.press('#text', 'Escape');
    await waitFor('the close', async () => !(await hitAt(page, 800, 400)).startsWith('DIV'));
    expect(complaints).toEqual([]);
  });

  test.each([
    ['a target that is no selector', { mode: 'inline', target: '##' }, 'no_place'],
    ['an address for claims that is none', { 'auth-url': 'http://[' }, 'bad_auth_url'],
    ['an address for claims of another origin', { 'auth-url': 'https://evil.example/' }, 'bad_auth_url'],
  ])('tells of %s by an event, and harms no page', async (_name, attributes, code) => {
    const listener =
      '<script>window.told=[];document.addEventListener("throughline:error",function(e){told.push(e.detail.code)})</script>';
    putPage('/', { head: listener + scriptOf(attributes) });
    const { page, complaints } = await visit(`${host.origin}/`);
    await waitFor('the error', () =>
      page.evaluate((code) => (Reflect.get(window, 'told') as string[]).includes(code), code),
    );
    expect(await page.evaluate(() => typeof Reflect.get(window, 'Throughline').setUser)).toBe('function');
    await page.click('#corner', { timeout: 10_000 });
    expect(complaints).toEqual([]);
  });

  test('asks for claims where the page’s base says', async () => {
    host.pages.set('/old/shop/chat-claims', (_req, res) => res.end(claimsOf('u18', 'Ada')));
    putPage('/', { head: `<base href="/old/shop/">${scriptOf({ 'auth-url': 'chat-claims' })}` });
    const { page } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await open(page);
    await say(await liveIn(page), 'by way of the base');
  });

  test('gives the keyboard something to stand on where guests are refused', async () => {
    putPage('/', { head: scriptOf({ site: 'members' }) });
    const { page } = await visit(`http://127.0.0.1:${host.port}/`);
    await bubbleIsThere(page);
    const frame = await frameOf(page);
    await frame.waitForSelector('#members-only', { state: 'attached' });
    await open(page);
    await frame.waitForFunction(() => document.activeElement?.id === 'members-only');
  });

  test('is one chat, however many scripts a page has', async () => {
    putPage('/', {
      head: scriptOf({ claims: claimsOf('u19', 'Ada') }),
      body: scriptOf({ room: 'other', mode: 'inline' }) + scriptOf({ site: 'members' }),
    });
    const { page, complaints } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    await liveIn(page);
    expect(page.frames()).toHaveLength(2);
    expect(complaints).toEqual([]);
  });

  test('is that of the first script in the page, though another comes first', async () => {
    putPage('/', {
      // One with `defer` runs at the end, one without anything at once.
      head: scriptOf({ claims: claimsOf('u20', 'Ada') }).replace('async', 'defer'),
      body: scriptOf({ room: 'other', mode: 'inline' }).replace('async', ''),
    });
    const { page } = await visit(`${host.origin}/`);
    await bubbleIsThere(page);
    expect((await frameOf(page)).url()).toMatch(/\/embed\/shop\/lobby$/);
  });
});

describe('a service that is down', () => {
  /** The page as it was: all of it takes clicks, and nothing else does. */
  async function expectUntouched(page: Page): Promise<void> {
    await page.click('#corner', { timeout: 10_000 });
    for (const [x, y] of [BUBBLE, [800, 400], [500, 300], [20, 700]] as const)
      expect(await hitAt(page, x, y)).toMatch(/^(HTML|BODY|P|BUTTON#corner)$/);
  }

  test.each(['refuses connections', 'takes them and never answers'])(
    'harms no page: its script’s server %s',
    async (how) => {
      const silent = createServer();
      silent.listen(0, '127.0.0.1');
      await new Promise((resolve) => silent.once('listening', resolve));
      const { port } = silent.address() as { port: number };
      if (how === 'refuses connections') await new Promise((resolve) => silent.close(resolve));
      putPage('/', { head: scriptOf({}, `http://127.0.0.1:${port}`) });
      const context = await browser.newContext({ viewport: { width: 1000, height: 720 } });
      contexts.push(context);
      const page = await context.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      page.on('console', (message) => {
        if (message.type() === 'error') errors.push(message.text());
      });
      await page.goto(`${host.origin}/`, { waitUntil: 'domcontentloaded' });
      await expectUntouched(page);
      // Of the script that didn't load the browser itself may say so.
      expect(errors.filter((line) => !line.startsWith('Failed to load resource'))).toEqual([]);
      await context.close();
      silent.close();
    },
  );

  test.each(['slow', 'erroring'] as const)('harms no page: the chat itself is %s', async (how) => {
    front.embed = how;
    putPage('/', { head: scriptOf({ claims: claimsOf('u1', 'Ada') }) });
    const context = await browser.newContext({ viewport: { width: 1000, height: 720 } });
    contexts.push(context);
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    await page.goto(`${host.origin}/`, { waitUntil: 'domcontentloaded' });
    // The page's own scripts may wait for this.
    await page.waitForLoadState('load', { timeout: 5000 });
    await waitFor('the frame to be asked for', () => front.urls.some((url) => url.startsWith('/embed/')));
    await page.evaluate(() => Reflect.get(window, 'Throughline').open());
    await expectUntouched(page);
    expect(errors.filter((line) => !line.startsWith('Failed to load resource'))).toEqual([]);
  });
});

describe('what is handed over', () => {
  test('is claims, what the widget says, or nothing', () => {
    expect(givenIn('abc.def0')).toEqual({ claims: 'abc.def0' });
    expect(givenIn('a.b.c')).toEqual({ claims: 'a.b.c' });
    const given = {
      claims: 'a.b',
      mode: 'bubble',
      lang: 'de',
      color: 'rgb(1 2 3 / 50%)',
      theme: 'a&b=c+d',
    } as const;
    expect(givenIn(nameFor(given))).toEqual(given);
    expect(givenIn('claims=a.b&mode=&x=1')).toEqual({ claims: 'a.b' });
    for (const name of ['', 'chatframe', 'null', '7', '[1]', '{', '%']) expect(givenIn(name)).toEqual({});
  });

  test('is claims only of a page of the site, or of our own frame', () => {
    const name = 'claims=a.b&lang=de&';
    const at = (origin: string) => ({ location: { origin } });
    const closed = {
      get location(): never {
        throw new Error('SecurityError');
      },
    };
    const window = (opener: GivenTo['opener']): GivenTo => {
      const top = { name, opener, parent: undefined as unknown, ...at('https://chat') };
      top.parent = top;
      return top;
    };
    for (const opener of [null, closed, at('https://evil')])
      expect(takeGiven(window(opener))).toEqual({ claims: undefined, lang: 'de' });
    expect(takeGiven(window(at('https://chat')))).toEqual({ claims: 'a.b', lang: 'de' });
    const framed = Object.assign(window(null), { parent: {} });
    expect(takeGiven(framed)).toEqual({ claims: 'a.b', lang: 'de' });
    expect(framed.name).toBe('');
  });

  test('is claims in the host’s answer, bare or in JSON', () => {
    expect(claimsIn(' a-_b.cd\n')).toBe('a-_b.cd');
    expect(claimsIn('{"claims":"a.b"}')).toBe('a.b');
    for (const text of ['', 'null', '<p>', '{"claims":1}', 'a.b.c.d']) expect(claimsIn(text)).toBeUndefined();
  });

  test('ends when it says so', () => {
    const ends = Math.floor(Date.now() / 1000) + 600;
    expect(endOfClaims(claimsOf('u1', 'Ådå'))).toBe(ends * 1000);
    for (const claims of ['', 'a', 'a.b', '%.%']) expect(endOfClaims(claims)).toBe(0);
  });

  test('is a site and a room in the path, under whatever base', () => {
    expect(placeOfPath('/embed/shop/lobby')).toEqual({ site: 'shop', room: 'lobby' });
    expect(placeOfPath('/a/b/embed/shop/caf%C3%A9/')).toEqual({ site: 'shop', room: 'café' });
    expect(placeOfPath('/embed/shop/%')).toEqual({ site: 'shop', room: '%' });
  });

  test('is a colour that text can be read on', () => {
    expect([isLight([255, 255, 0]), isLight([11, 107, 107])]).toEqual([true, false]);
  });

  test('is kept in cookies where the browser keeps them', () => {
    const jar = (isKept: (cookie: string) => boolean) => {
      let held = '';
      return {
        get cookie() {
          return held;
        },
        set cookie(cookie: string) {
          if (isKept(cookie)) held = cookie.includes('Max-Age=0') ? '' : (cookie.split(';')[0] as string);
        },
      };
    };
    expect(keptCookies(jar(() => true))).toBe('own');
    expect(keptCookies(jar((cookie) => cookie.includes('Partitioned')))).toBe('framed');
    expect(keptCookies(jar(() => false))).toBeUndefined();
  });
});
