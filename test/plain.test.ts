import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Config } from '../src/config.ts';
import type { RunningServer } from '../src/server.ts';
import { findProgram } from './proxies/programs.ts';
import { launchChromium } from './support/chromium.ts';
import { LiveFrame, PlainVisitor, textsOf } from './support/plain.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

/** At once, on a busy machine: less than any wait of the service's own that could explain it (4 s, or 15 s a heartbeat). */
const SOON_MS = 3000;

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

async function withServer(overrides: Partial<Config>, use: (server: RunningServer) => Promise<void>) {
  const server = await startTestServer(testConfig(redis, overrides));
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

/** A way to the server that can be cut. */
async function cuttableWay(url: string): Promise<{ url: string; cut(): void; close(): void }> {
  const { port, pathname } = new URL(url);
  const sockets = new Set<Socket>();
  const way = createServer((near) => {
    const far = connect(Number(port), '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  }).listen(0, '127.0.0.1');
  await once(way, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(way.address() as AddressInfo).port}${pathname.replace(/\/$/, '')}`,
    cut,
    close: () => {
      cut();
      way.close();
    },
  };
}

describe.each(['', '/chat/two'])('under the base path "%s"', (basePath) => {
  test('one logs in, posts and reads by forms alone; loading again or sending twice posts nothing twice', () =>
    withServer({ basePath }, async ({ url }) => {
      const ada = new PlainVisitor(url);
      await ada.load('../plain');
      expect(ada.page).toContain('Your name');
      await ada.send('log-in', { name: 'Ada' });
      expect(ada.page).toContain('<bdi>Ada</bdi>');
      const form = { formToken: ada.hidden('formToken'), clientId: ada.hidden('clientId') };
      for (let i = 0; i < 3; i++) {
        const res = await ada.fetch(`${url}/plain/lobby/post`, {
          method: 'POST',
          body: new URLSearchParams({ ...form, text: 'two\r\nlines' }),
        });
        expect(res.status).toBe(303);
        expect(new URL(res.headers.get('location') as string, res.url).href).toBe(`${url}/plain/lobby`);
      }
      await ada.load('lobby');
      expect(textsOf(ada.page)).toEqual(['two<br>lines']);
      expect(ada.hidden('clientId')).not.toBe(form.clientId);
      await ada.send('join');
      expect(ada.page).toContain('value="Leave this room"');
      await ada.send('log-out');
      expect(ada.page).toContain('Your name');
    }));
});

describe('a form that isn’t taken', () => {
  test.each([
    ['without its token', { formToken: '' }, {}, 403, 'kept &lt;&amp;'],
    ['with another token', { formToken: 'x'.repeat(43) }, {}, 403, 'kept &lt;&amp;'],
    ['from another site', {}, { Origin: 'https://evil.example' }, 403, 'kept &lt;&amp;'],
    ['from a page without an origin', {}, { Origin: 'null' }, 403, 'kept &lt;&amp;'],
    ['sent across sites', {}, { 'Sec-Fetch-Site': 'cross-site' }, 403, 'kept &lt;&amp;'],
    ['with a text too long', { text: 'é'.repeat(4001) }, {}, 400, 'é'.repeat(4001)],
    ['with an empty text', { text: ' ' }, {}, 400, ' '],
  ])(
    '%s is refused in words, with the right status and what was typed',
    (_how, fields, headers, status, kept) =>
      withServer({}, async ({ url }) => {
        const ada = await new PlainVisitor(url).logIn('Ada');
        await ada.send('post', { text: 'kept <&', ...fields }, headers);
        expect(ada.status).toBe(status);
        expect(ada.page).toContain('class="problem"');
        expect(ada.kept).toBe(kept);
        await ada.send('post', { text: 'sent again' });
        expect([ada.status, textsOf(ada.page)]).toEqual([200, ['sent again']]);
      }),
  );

  test('that had sent something else already, or came too fast, can be sent again from the page it led to', () =>
    withServer({ postBurst: 2, postsPerSecond: 1 }, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const clientId = ada.hidden('clientId');
      await ada.send('post', { text: 'one' });
      await ada.send('post', { text: 'two', clientId });
      expect([ada.status, ada.kept]).toEqual([409, 'two']);
      let res = await ada.send('post', { text: ada.kept as string });
      for (let i = 0; i < 20 && res.status === 200; i++) res = await ada.send('post', { text: `m${i}` });
      expect([res.status, ada.kept?.[0]]).toEqual([429, 'm']);
      expect(Number(res.headers.get('retry-after'))).toBeGreaterThan(0);
    }));

  test('for want of a session leads to the log-in, behind which the text still stands', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const stale = new PlainVisitor(url);
      for (const [name, value] of ada.cookies) stale.cookies.set(name, value);
      stale.page = ada.page;
      await ada.send('log-out');
      await stale.send('post', { text: 'long thought of' });
      expect([stale.status, stale.kept]).toEqual([401, 'long thought of']);
      await stale.send('log-in', { name: 'Ada', text: stale.kept as string });
      expect([stale.status, stale.kept]).toEqual([200, 'long thought of']);
      await stale.send('post', { text: stale.kept as string });
      expect(textsOf(stale.page)).toEqual(['long thought of']);
    }));

  test('while Redis is away still shows the text', async () => {
    const own = await startTestRedis();
    const server = await startTestServer(testConfig(own));
    try {
      const ada = await new PlainVisitor(server.url).logIn('Ada');
      const { page } = ada;
      await own.stop();
      await ada.send('post', { text: 'in bad times' });
      expect([ada.status, ada.kept]).toEqual([503, 'in bad times']);
      ada.page = page;
      await ada.load('lobby');
      expect([ada.status, ada.page.includes('can’t be reached')]).toEqual([503, true]);
    } finally {
      await server.close();
    }
  });

  test('to log in is refused where the token of another browser, or none, is sent', () =>
    withServer({}, async ({ url }) => {
      const [ada, eve] = [new PlainVisitor(url), new PlainVisitor(url)];
      await ada.load('lobby');
      await eve.load('lobby');
      await ada.send('log-in', { name: 'Eve', formToken: eve.hidden('formToken') });
      expect([ada.status, ada.cookies.has('throughline.sid')]).toEqual([403, false]);
      expect(ada.page).toContain('value="Eve"');
      await ada.send('log-in', { name: 'Ada' }, { Origin: new URL(url).origin });
      expect([ada.status, ada.cookies.has('throughline.sid')]).toEqual([200, true]);
      await eve.send('log-in', { name: 'Ada' });
      expect([eve.status, eve.page.includes('value="Ada"')]).toEqual([409, true]);
    }));
});

const NASTY = [
  '<script>document.title="hit"</script>',
  '</textarea></p></article></iframe><img src=x onerror=alert(1)>',
  '"><svg onload=alert(1)>',
  "' autofocus onfocus='alert(1)",
  '<!-- --><style>*{display:none}</style>',
  '&lt;b&gt; &amp; {{1}}',
  'javascript:alert(1) data:text/html,<b>x</b> vbscript:x',
  'https://example.org/"onmouseover="alert(1)',
  'https://example.org/<script>alert(1)</script>',
  '\u202Ereversed',
];

describe('in Chromium without JavaScript', () => {
  // A page whose frame is held is never loaded whole.
  const AT_ONCE = { waitUntil: 'domcontentloaded' } as const;

  test(
    'two people chat: what the other says appears in the frame by itself, newest in view',
    () =>
      withServer({ basePath: '/chat', heartbeatMs: 1000, confirmMs: 1500 }, async ({ url }) => {
        const browser = await launchChromium();
        const way = await cuttableWay(url);
        try {
          const context = await browser.newContext({ javaScriptEnabled: false });
          const page = await context.newPage();
          const complaints: string[] = [];
          page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
          await page.goto(`${way.url}/plain/lobby`);
          await page.fill('[name=name]', 'Ada');
          await page.keyboard.press('Enter');
          await page.fill('[name=text]', 'hello, is anybody there?');
          await page.click('[value=Send]');
          await page.locator('main .text', { hasText: 'anybody there' }).waitFor();
          await page.fill('[name=text]', 'half a thought');
          const bob = await Person.logIn(url, 'Bob');
          const live = page.frameLocator('iframe');
          for (let i = 1; i <= 30; i++) await bob.post(`answer ${i}`);
          const newest = live.getByText('answer 30', { exact: true });
          await newest.waitFor();
          await page.waitForTimeout(2500);
          await bob.post('see https://example.org/?a=1&b=2');
          await live.getByText('see https').waitFor({ timeout: SOON_MS });
          expect(await live.locator('.text').count()).toBe(31);
          const frame = (await page.locator('iframe').boundingBox()) as { y: number; height: number };
          const box = (await live.getByText('see https').boundingBox()) as { y: number; height: number };
          expect(box.y).toBeGreaterThan(frame.y);
          expect(box.y + box.height).toBeLessThanOrEqual(frame.y + frame.height);
          expect(await page.inputValue('[name=text]')).toBe('half a thought');
          if (process.env['SHOTS']) await page.screenshot({ path: `${process.env['SHOTS']}/plain.png` });
          if (process.env['SHOTS']) {
            await page.setViewportSize({ width: 390, height: 780 });
            await page.emulateMedia({ colorScheme: 'dark' });
            await page.screenshot({ path: `${process.env['SHOTS']}/plain-phone.png` });
          }
          expect(complaints).toEqual([]);
          way.cut();
          await bob.post('after the cut');
          await live.getByText('after the cut').waitFor({ timeout: 20_000 });
          expect(await live.locator('.text').count()).toBe(32);
          expect(await page.inputValue('[name=text]')).toBe('half a thought');
        } finally {
          await browser.close();
          way.close();
        }
      }),
    60_000,
  );

  test(
    'names, titles and texts stand there as they were typed, whatever they look like',
    () =>
      withServer({}, async ({ url }) => {
        const browser = await launchChromium();
        try {
          const page = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
          await page.goto(`${url}/plain/lobby`);
          await page.fill('[name=name]', '"><img src=x onerror=hit()>');
          await page.keyboard.press('Enter');
          await page.locator('[name=text]').waitFor();
          const bob = await Person.logIn(url, '</b><script>hit()</script>');
          await bob.send('/api/rooms', { room: 'odd', title: '</title><script>hit()</script>' });
          await bob.post('first', 'odd');
          await page.goto(`${url}/plain/odd`, AT_ONCE);
          for (const text of NASTY) await bob.post(text, 'odd');
          const live = page.frameLocator('iframe');
          await live
            .locator('.text')
            .nth(NASTY.length - 1)
            .waitFor();
          expect(await live.locator('.text').allTextContents()).toEqual(NASTY);
          await page.reload(AT_ONCE);
          expect(await page.locator('.text').allTextContents()).toEqual(['first', ...NASTY]);
          expect(await page.title()).toBe('</title><script>hit()</script> · Throughline');
          for (const nasty of ['script', 'svg', 'style', 'img', '[onerror]', '[onload]', '[onfocus]'])
            expect([nasty, await page.locator(nasty).count()]).toEqual([nasty, 0]);
          const hrefs = await page
            .locator('.text a')
            .evaluateAll((links) => links.map((a) => (a as { href?: string }).href));
          for (const href of hrefs) expect(href).toMatch(/^https:\/\/example\.org\//);
          await page.fill('[name=text]', ' ');
          await page.click('[value=Send]');
          expect(await page.locator('.problem').count()).toBe(1);
        } finally {
          await browser.close();
        }
      }),
    60_000,
  );
});

describe('the frame', () => {
  test('is told within a second, each message once; cut, it goes on from its address, with nothing lost or doubled', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const bob = await Person.logIn(url, 'Bob');
      await ada.send('post', { text: 'in the page' });
      const frame = LiveFrame.open(ada, ada.frame);
      await waitFor('the document', () => frame.text.includes('class="list"'));
      await bob.post('one <1>');
      await waitFor('one', () => frame.texts.length === 1, SOON_MS);
      await frame.cut();
      await bob.post('two');
      await waitFor('its end', () => frame.hasEnded || frame.refresh);
      const again = LiveFrame.open(ada, frame.next);
      await waitFor('both', () => again.texts.length === 2, SOON_MS);
      await bob.post('three');
      await waitFor('three', () => again.texts.length === 3, SOON_MS);
      expect(again.texts).toEqual(['one &lt;1&gt;', 'two', 'three']);
      expect(again.text).not.toContain('in the page');
      await again.cut();
    }));

  test('that keeps being cut and resumed, on either process, misses nothing and tells nothing twice', async () => {
    const config = testConfig(redis, { windowEntries: 4, pageEntries: 3 });
    const servers = [await startTestServer(config), await startTestServer(config)];
    try {
      const [url = '', otherUrl = ''] = servers.map((server) => server.url);
      const ada = await new PlainVisitor(url).logIn('Ada');
      const other = new PlainVisitor(otherUrl);
      for (const [name, value] of ada.cookies) other.cookies.set(name, value);
      const bob = await Person.logIn(url, 'Bob');
      const texts = Array.from({ length: 50 }, (_, i) => `m${i}`);
      const posting = (async () => {
        for (const text of texts) await bob.post(text);
      })();
      const told: string[] = [];
      let src = ada.frame;
      const epoch = /after=([^.]*)/.exec(src)?.[1];
      for (let cuts = 0; told.length < texts.length && cuts < 500; cuts++) {
        const frame = LiveFrame.open(cuts % 2 ? other : ada, src);
        await waitFor('some news', () => /<\/article>/.test(frame.text), 20_000);
        await frame.cut();
        const whole = frame.text.slice(0, frame.text.lastIndexOf('</article>'));
        told.push(...textsOf(whole));
        const last = Array.from(whole.matchAll(/data-id="([^"]*)"/g)).at(-1)?.[1];
        src = `lobby/live?after=${epoch}.${last}`;
      }
      await posting;
      expect(told).toEqual(texts);
    } finally {
      await Promise.all(servers.map((server) => server.close()));
    }
  });

  test('is held for as long as its pictures are fetched, and loaded again in short where nothing gets through', () =>
    withServer(
      { heartbeatMs: 200, leaseMs: 2000, confirmMs: 1000, streamMaxAgeMs: 6000 },
      async ({ url }) => {
        const ada = await new PlainVisitor(url).logIn('Ada');
        const held = LiveFrame.open(ada, ada.frame);
        const buffered = LiveFrame.open(ada, ada.frame, false);
        await waitFor('the unproven one to end', () => buffered.hasEnded, SOON_MS);
        expect(held.hasEnded).toBe(false);
        expect(buffered.next).toContain('&was=');
        const bob = await Person.logIn(url, 'Bob');
        await bob.post('hello');
        const short = LiveFrame.open(ada, buffered.next);
        await waitFor('the short one to end', () => short.hasEnded, SOON_MS);
        expect([short.texts, short.text.includes('class="proof"')]).toEqual([['hello'], false]);
        expect(short.next).toContain('&short=2');
        await waitFor('the held one’s age to end it', () => held.hasEnded, 10_000);
        const next = LiveFrame.open(ada, held.next);
        await waitFor('the next', () => next.texts.length === 1);
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect([next.hasEnded, held.texts]).toEqual([false, ['hello']]);
        await next.cut();
      },
    ));

  test('refused because Redis is away comes back by itself, from the same cursor', async () => {
    const own = await startTestRedis();
    const server = await startTestServer(testConfig(own));
    try {
      const ada = await new PlainVisitor(server.url).logIn('Ada');
      await own.stop();
      const frame = LiveFrame.open(ada, ada.frame);
      await frame.done;
      // Without an address it is the same one that is loaded again.
      expect([frame.status, /^\d+$/.test(frame.refresh)]).toEqual([503, true]);
    } finally {
      await server.close();
    }
  });

  test('is held, not short, where what it says of the one before is no nonce', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const frame = LiveFrame.open(ada, `${ada.frame}&was=${encodeURIComponent('*:x')}`);
      await waitFor('the document', () => frame.text.includes('class="proof"'));
      await frame.cut();
    }));

  test('that asks for it is loaded every so many seconds instead', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      await ada.load('lobby?refresh=15');
      const frame = LiveFrame.open(ada, ada.frame);
      await waitFor('its end', () => frame.hasEnded, SOON_MS);
      expect(frame.refresh).toMatch(/^15; url=\.\.\/lobby\/live\?after=[^&]*&n=0&every=15$/);
      expect(ada.page).not.toContain('http-equiv');
    }));

  test('says a gap in words, and goes on', () =>
    withServer({ roomLogEntries: 10, journalEntries: 10, windowEntries: 10 }, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const src = ada.frame;
      const bob = await Person.logIn(url, 'Bob');
      for (let i = 0; i < 300; i++) await bob.post(`m${i}`);
      const frame = LiveFrame.open(ada, src);
      await waitFor('the newest', () => frame.texts.includes('m299'));
      expect(frame.text.match(/data-gap="trimmed"/g)).toHaveLength(1);
      await frame.cut();
      await ada.load('lobby?after=zzz.1-1');
      expect(ada.page).toContain('The log went back');
      for (const [after, reason] of [
        ['zzz.1-1', 'rollback'],
        ['"><b>x', 'unknown-cursor'],
      ] as const) {
        const lost = LiveFrame.open(ada, `lobby/live?${new URLSearchParams({ after })}`);
        await waitFor(reason, () => lost.text.includes(`data-gap="${reason}"`));
        expect(lost.text).not.toContain('"><b>x');
        expect(lost.refresh).not.toMatch(/[<">]/);
        await lost.cut();
      }
    }));

  test('leaves to the page what is far behind', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const src = ada.frame;
      const bob = await Person.logIn(url, 'Bob');
      await Promise.all(Array.from({ length: 260 }, (_, i) => bob.post(`m${i}`)));
      const frame = LiveFrame.open(ada, src);
      await waitFor('the newest', () => frame.texts.length === 200);
      expect(frame.text).toContain('There are older new messages');
      await frame.cut();
      await ada.load(src.replace(/\/live/, ''));
      expect(textsOf(ada.page)).toHaveLength(50);
      const seen = new Set(textsOf(ada.page));
      for (;;) {
        const older = /href="([^"]*before=[^"]*)"/.exec(ada.page)?.[1];
        if (older === undefined) break;
        await ada.load(older);
        for (const text of textsOf(ada.page)) seen.add(text);
      }
      expect(seen.size).toBe(260);
    }));

  test('of a session that ends says so and ends; loaded again it is refused', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const src = ada.frame;
      const frame = LiveFrame.open(ada, src);
      await waitFor('the document', () => frame.text.includes('class="list"'));
      await ada.send('log-out');
      await waitFor('its end', () => frame.hasEnded, SOON_MS);
      expect(frame.text).toContain('You have been logged out');
      expect(frame.text).toMatch(/<\/html>\s*$/);
      const again = LiveFrame.open(ada, src);
      await waitFor('the refusal', () => again.hasEnded);
      expect([again.status, again.refresh]).toEqual([401, '']);
    }));

  test('of a service that stops ends whole, and comes back by itself', async () => {
    const server = await startTestServer(testConfig(redis));
    const ada = await new PlainVisitor(server.url).logIn('Ada');
    const frame = LiveFrame.open(ada, ada.frame);
    await waitFor('the document', () => frame.text.includes('class="list"'));
    await server.close();
    await frame.done;
    expect([frame.hasEnded, frame.text.includes('being restarted')]).toEqual([true, true]);
    expect(frame.refresh).toMatch(/^\d+; url=/);
  });

  test('by HTTP/1.0 comes unchunked', () =>
    withServer({}, async ({ url }) => {
      const ada = await new PlainVisitor(url).logIn('Ada');
      const bob = await Person.logIn(url, 'Bob');
      const { port, host } = new URL(url);
      const socket = connect(Number(port), '127.0.0.1');
      let got = '';
      socket.on('data', (data) => {
        got += data;
      });
      socket.write(`GET /plain/${ada.frame} HTTP/1.0\r\nHost: ${host}\r\nCookie: ${ada.cookie}\r\n\r\n`);
      await waitFor('the document', () => got.includes('class="list"'));
      await bob.post('to the old');
      await waitFor('the message', () => got.includes('to the old'), SOON_MS);
      expect(got).not.toMatch(/transfer-encoding/i);
      expect(got.split('\r\n\r\n')[1]).toMatch(/^<!DOCTYPE html>/);
      socket.destroy();
    }));
});

test('whoever leaves a room is told gone, and not here again by the page that answers it', () =>
  withServer({}, async ({ url }) => {
    const bob = await Person.logIn(url, 'Bob');
    const ada = await new PlainVisitor(url).logIn('Ada');
    await ada.send('join');
    const { cursor } = await bob.history();
    const people = async () => (await (await bob.get('/api/rooms/lobby/people')).json()) as { count: number };
    expect((await people()).count).toBe(1);
    await ada.send('leave');
    expect([ada.status, ada.frame, ada.page.includes('You have left this room')]).toEqual([200, '', true]);
    await ada.load('lobby?left=1');
    expect((await people()).count).toBe(0);
    const res = await bob.get(`/api/poll?rooms=lobby&wait=0&after=${cursor}`);
    const { events } = (await res.json()) as { events: { kind: string; here: boolean; user: object }[] };
    const isAdas = ({ kind, user }: (typeof events)[number]) =>
      kind === 'presence' && (user as { name: string }).name === 'Ada';
    expect(events.filter(isAdas).map(({ here }) => here)).toEqual([false]);
    await ada.send('join');
    expect((await people()).count).toBe(2);
  }));

test('a page lists some of very many rooms, one’s own first, and says how many more there are', () =>
  withServer({}, async ({ url }) => {
    const ada = await new PlainVisitor(url).logIn('Ada');
    const person = await Person.logIn(url);
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => person.send('/api/rooms', { room: `r${100 + i}` })),
    );
    await ada.load('r199');
    await ada.send('join', {}, {}, 'r199');
    const other = await Person.logIn(url);
    await Promise.all(
      Array.from({ length: 110 }, (_, i) => other.send('/api/rooms', { room: `a${100 + i}` })),
    );
    await ada.load('lobby');
    const nav = ada.page.slice(ada.page.indexOf('<nav'));
    expect(/<li><a[^>]*><bdi>([^<]*)/.exec(nav)?.[1]).toBe('r199');
    expect(nav.match(/ messages<\/small>/g)?.length).toBeGreaterThan(195);
    expect(nav).toContain('And 11 more.');
  }));

describe('in text browsers', () => {
  const lynx = findProgram('lynx');
  const w3m = findProgram('w3m');
  // Where everything is tested, none is left out.
  const isSkipped = (path: string | undefined) => path === undefined && process.env['CI'] !== 'true';
  const why = (name: string, path: string | undefined) =>
    isSkipped(path) ? ` (skipped: ${name} isn’t installed; npm run setup -- --tests)` : '';

  test.skipIf(isSkipped(lynx))(`one logs in, posts and reads in lynx${why('lynx', lynx)}`, () =>
    withServer({ basePath: '/chat' }, async ({ url }) => {
      const folder = await mkdtemp(join(tmpdir(), 'tl-lynx-'));
      try {
        const bob = await Person.logIn(url, 'Bob');
        await bob.post('hello <b>Lynx</b>');
        const typed = (text: string) => Array.from(text, (key) => `key ${key === ' ' ? '<space>' : key}`);
        const down = (n: number) => Array<string>(n).fill('key Down Arrow');
        // Log out, the frame, Refresh and its other kind stand before the text.
        const keys = [...typed('Lyn'), ...down(1), 'key ^J', ...down(4), ...typed('hi from lynx')];
        await writeFile(
          join(folder, 'keys'),
          `${[...keys, 'key <tab>', 'key ^J', 'key Q', 'key y'].join('\n')}\n`,
        );
        const args = [
          `-cmd_script=${join(folder, 'keys')}`,
          '-accept_all_cookies',
          `-cfg=${join(folder, 'cfg')}`,
        ];
        await writeFile(join(folder, 'cfg'), 'INFOSECS:0\nMESSAGESECS:0\nALERTSECS:0\n');
        const child = spawn(lynx ?? 'lynx', [...args, `${url}/plain/lobby`], {
          env: { ...process.env, TERM: 'vt100', HOME: folder },
          stdio: ['ignore', 'pipe', 'ignore'],
        });
        let screen = '';
        child.stdout.on('data', (data) => {
          screen += data;
        });
        await once(child, 'exit');
        const { events } = await bob.history();
        expect(events.map(({ text, user }) => [(user as { name: string }).name, text])).toEqual([
          ['Bob', 'hello <b>Lynx</b>'],
          ['Lyn', 'hi from lynx'],
        ]);
        // It draws what has changed only; whole words of Bob’s must have come onto the screen.
        expect(screen).toContain('<b>Lynx</b>');
      } finally {
        await rm(folder, { recursive: true });
      }
    }),
  );

  test.skipIf(isSkipped(w3m))(`one reads and posts in w3m${why('w3m', w3m)}`, () =>
    withServer({ basePath: '/chat' }, async ({ url }) => {
      const folder = await mkdtemp(join(tmpdir(), 'tl-w3m-'));
      try {
        const ada = await new PlainVisitor(url).logIn('Ada');
        await ada.send('post', { text: 'first\nsecond <i>' });
        const run = (...args: string[]) =>
          promisify(execFile)(w3m ?? 'w3m', ['-header', `Cookie: ${ada.cookie}`, '-dump', ...args], {
            env: { ...process.env, HOME: folder },
          });
        const body = new URLSearchParams({
          formToken: ada.hidden('formToken'),
          clientId: ada.hidden('clientId'),
          text: 'from w3m',
        });
        await writeFile(join(folder, 'body'), String(body));
        await run('-post', join(folder, 'body'), `${url}/plain/lobby/post`);
        const { stdout } = await run(`${url}/plain/lobby`);
        expect(stdout).toMatch(
          /Ada \(guest\) \d\d:\d\d UTC\s+first\nsecond <i>\s+Ada \(guest\) \d\d:\d\d UTC\s+from w3m/,
        );
        expect(stdout).toContain('[Send]');
        expect(await readFile(join(folder, 'body'), 'utf8')).toBe(String(body));
      } finally {
        await rm(folder, { recursive: true });
      }
    }),
  );
});
