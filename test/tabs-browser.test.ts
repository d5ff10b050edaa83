import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { build } from 'esbuild';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { launchChromium } from './support/chromium.ts';
import { waitFor } from './support/wait-for.ts';

/** What runs in the page: tabs and outbox as a client puts them together, over the plainest of connections. */
const PAGE_SCRIPT = `
  import { shareFeed } from './tabs.ts';
  import { openOutbox } from './outbox.ts';
  import { openStore } from './outbox-store.ts';
  const ids = [];
  const open = (listener) => {
    let source;
    return {
      follow(rooms, cursor) {
        source?.close();
        source = new EventSource('/events?after=' + cursor);
        source.onopen = () => listener.state({ phase: 'live', carrier: 'sse', why: 'best' });
        source.onmessage = ({ data, lastEventId }) => listener.told(JSON.parse(data), lastEventId);
      },
      expect() {}, wake() {}, rest() {},
      close: () => source?.close(),
    };
  };
  const feed = shareFeed({
    scope: 'u1',
    open,
    catchUp: async (rooms, after) => (await fetch('/poll?after=' + after)).json(),
    listener: { told: (event) => event && !ids.includes(event.id) && ids.push(event.id), state() {} },
    BroadcastChannel,
    locks: navigator.locks,
    storage: localStorage,
  });
  addEventListener('pagehide', () => feed.leave());
  addEventListener('pageshow', (event) => event.persisted && feed.come());
  feed.follow(['lobby'], document.documentElement.dataset.cursor);
  const settled = [];
  const ready = openStore(window).then((store) => [store, openOutbox({
    store,
    user: 'u1',
    owner: sessionStorage.owner ||= Math.random().toString(36),
    onChange: ({ text, status }) => settled.push(text + ' ' + status),
    send: async (post) => {
      const response = await fetch('/post', { method: 'POST', body: JSON.stringify(post) });
      if (!response.ok) throw { code: 'unavailable', isPassing: true };
      return response.json();
    },
  })]);
  Object.assign(window, { ids, feed, settled, ready });
`;

/** A service reduced to what the page script needs. */
class TinyService {
  readonly #streams = new Set<ServerResponse>();
  readonly #server: Server;
  readonly said = new Map<string, string>();
  #last = 0;
  isDown = false;

  constructor(script: string) {
    this.#server = createServer(async (req, res) => {
      const { pathname, searchParams } = new URL(req.url ?? '/', 'http://x');
      const after = Number(/^e\.(\d+)-0$/.exec(searchParams.get('after') ?? '')?.[1] ?? 0);
      if (pathname === '/page.js') res.setHeader('Content-Type', 'text/javascript').end(script);
      else if (pathname === '/events') {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
        res.flushHeaders();
        this.#streams.add(res);
        res.on('close', () => this.#streams.delete(res));
        for (let n = after + 1; n <= this.#last; n++) this.#tell(res, n);
      } else if (pathname === '/poll') {
        const events = [];
        for (let n = after + 1; n <= this.#last; n++) events.push({ event: eventOf(n), cursor: `e.${n}-0` });
        res.end(JSON.stringify({ events, cursor: `e.${this.#last}-0`, more: false }));
      } else if (pathname === '/post') {
        let body = '';
        for await (const chunk of req) body += chunk;
        if (this.isDown) return void res.writeHead(503).end();
        const { clientId, text } = JSON.parse(body);
        this.said.set(clientId, text);
        res.end(JSON.stringify({ id: '1-0' }));
      } else {
        res.setHeader('Content-Type', 'text/html');
        res.end(
          `<!doctype html><html data-cursor="e.${this.#last}-0"><script src="/page.js"></script></html>`,
        );
      }
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  #tell(res: ServerResponse, n: number): void {
    res.write(`id: e.${n}-0\ndata: ${JSON.stringify(eventOf(n))}\n\n`);
  }

  post(): string {
    this.#last++;
    for (const res of this.#streams) this.#tell(res, this.#last);
    return `${this.#last}-0`;
  }

  get connections(): number {
    return this.#streams.size;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const eventOf = (n: number) => ({ kind: 'message', room: 'lobby', id: `${n}-0` });

// Browsers start slowly on a busy machine; what is measured below has bounds of its own.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let script: string;
let browser: Browser;
beforeAll(async () => {
  const built = await build({
    stdin: {
      contents: PAGE_SCRIPT,
      resolveDir: new URL('../src/browser', import.meta.url).pathname,
      loader: 'ts',
    },
    bundle: true,
    target: 'es2017',
    write: false,
  });
  script = built.outputFiles[0]?.text ?? '';
  browser = await launchChromium(['--host-resolver-rules=MAP chat.test 127.0.0.1']);
});
afterAll(() => browser?.close());

let service: TinyService;
let context: BrowserContext;
let port: number;
beforeEach(async () => {
  service = new TinyService(script);
  port = await service.listen();
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  service.close();
});

describe.each([
  ['over a secure origin', '127.0.0.1', true],
  ['over plain http', 'chat.test', false],
])('in Chromium %s', (_, host, isSecure) => {
  async function openPages(count: number): Promise<Page[]> {
    const pages: Page[] = [];
    for (let n = 0; n < count; n++) {
      const page = await context.newPage();
      await page.goto(`http://${host}:${port}/`);
      expect(await page.evaluate('isSecureContext')).toBe(isSecure);
      expect(await page.evaluate('navigator.locks !== undefined')).toBe(isSecure);
      pages.push(page);
    }
    return pages;
  }

  const isLeading = (page: Page) => page.evaluate('feed.isLeading');

  async function leaderOf(pages: Page[]): Promise<Page> {
    return waitFor('a tab to lead', async () => {
      for (const page of pages) if (await isLeading(page)) return page;
      return undefined;
    });
  }

  const hear = (pages: Page[], id: string) =>
    waitFor(`all to be told ${id}`, async () => {
      const told = await Promise.all(pages.map((page) => page.evaluate(`ids.includes('${id}')`)));
      return told.every(Boolean);
    });

  test.each(['closes', 'freezes', 'crashes'])(
    'one connection serves all tabs; when its tab %s, another leads within three seconds',
    async (what) => {
      const pages = await openPages(4);
      const leader = await leaderOf(pages);
      await hear(pages, service.post());
      expect(service.connections).toBe(1);
      const others = pages.filter((page) => page !== leader);
      const cdp = await context.newCDPSession(leader);
      const before = performance.now();
      if (what === 'closes') await leader.close({ runBeforeUnload: false });
      else if (what === 'freezes') {
        await cdp.send('Debugger.enable');
        await cdp.send('Debugger.pause');
      } else void cdp.send('Page.crash').catch(() => {});
      const missed = service.post();
      await leaderOf(others);
      await hear(others, missed);
      expect(performance.now() - before).toBeLessThan(3000);
      if (what === 'freezes') {
        await cdp.send('Debugger.disable');
        await waitFor('the old leader to step down', async () => !(await isLeading(leader)));
        await hear(pages, service.post());
      }
      await waitFor('one connection', () => service.connections === 1);
      for (const page of what === 'freezes' ? pages : others) {
        const ids = (await page.evaluate('ids')) as string[];
        expect(ids).toEqual([...ids].sort());
      }
    },
  );

  test('what waits in the outbox survives a reload, and is sent when the service is back', async () => {
    const [page] = (await openPages(1)) as [Page];
    service.isDown = true;
    expect(await page.evaluate('ready.then(([store]) => store.kind)')).toBe('indexeddb');
    await page.evaluate(
      `ready.then(([, outbox]) => { outbox.add('lobby', 'one'); outbox.add('lobby', 'two') })`,
    );
    await waitFor('a try', () => page.evaluate(`settled.includes('one sending')`));
    await page.reload();
    await waitFor('both to show', () =>
      page.evaluate(
        `ready.then(([, outbox]) => outbox.items().map(({ text }) => text).join() === 'one,two')`,
      ),
    );
    service.isDown = false;
    await page.evaluate('ready.then(([, outbox]) => outbox.wake())');
    await waitFor('both to be sent', () => page.evaluate(`settled.includes('two sent')`));
    expect([...service.said.values()]).toEqual(['one', 'two']);
    expect(await page.evaluate('ready.then(([store]) => store.all())')).toEqual([]);
  });
});
