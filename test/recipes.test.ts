import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { RunningServer } from '../src/server.ts';
import { findProgram } from './proxies/programs.ts';
import { type RunningRecipe, recipes, startRecipe } from './proxies/recipes.ts';
import { carriers } from './support/carriers.ts';
import { LiveFrame, PlainVisitor } from './support/plain.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

/** From the post's answer until it is told. */
const TOLD_WITHIN_MS = 1000;
/** The defaults: no test here shrinks them, since the recipes' time-outs are made for them. */
const POLL_WAIT_S = 25;
const APACHE_THREADS = 25;
const APACHE_MAX = 20;

let redis: TestRedis;
let site: Server;
const mounts: RunningRecipe[] = [];
const servers: RunningServer[] = [];
let seen: { method: string; url: string; headers: Record<string, unknown>; body: string }[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  site = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    seen.push({ method: req.method as string, url: req.url as string, headers: req.headers, body });
    res.setHeader('Set-Cookie', 'PHPSESSID=1; Path=/');
    res.end('the site');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
});
afterAll(async () => {
  await Promise.all(mounts.map((mount) => mount.stop()));
  await Promise.all(servers.map((server) => server.close()));
  await redis?.stop();
  site.closeAllConnections();
  site.close();
});

const portOf = (url: string) => Number(new URL(url).port);

/** Over TLS, whatever the certificate. */
async function askOverTls(port: number, path: string, options: RequestOptions = {}, body = '') {
  const req = request({
    host: '127.0.0.1',
    servername: 'localhost',
    port,
    path,
    rejectUnauthorized: false,
    ...options,
  });
  req.setHeader('Host', `localhost:${port}`).end(body);
  const [res] = (await once(req, 'response')) as [import('node:http').IncomingMessage];
  let text = '';
  for await (const chunk of res) text += chunk;
  return { status: res.statusCode, headers: res.headers, text };
}

/** In CI all have to be there. */
const isMissing = ({ program }: { program: string }) =>
  findProgram(program) === undefined && process.env['CI'] !== 'true';

for (const recipe of recipes) {
  describe.skipIf(isMissing(recipe))(`below a path of a site, by the recipe for ${recipe.name}`, () => {
    let server: RunningServer;
    let mount: RunningRecipe;
    let origin: string;
    let url: string;

    beforeAll(async () => {
      server = await startTestServer(testConfig(redis, { basePath: '/chat', trustProxy: 1 }));
      servers.push(server);
      mount = await startRecipe(recipe, portOf(server.url), (site.address() as AddressInfo).port);
      mounts.push(mount);
      origin = `http://127.0.0.1:${mount.port}`;
      url = `${origin}/chat`;
    }, 60_000);

    test('a reader that has closed its connection is noticed within some heartbeats', async () => {
      const { cookie } = await Person.logIn(url);
      const socket = connect(mount.port, '127.0.0.1');
      let got = '';
      socket.on('data', (bytes) => {
        got += bytes;
      });
      const path = '/chat/api/stream?rooms=lobby&heartbeat=1';
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${mount.port}\r\nCookie: ${cookie}\r\n\r\n`);
      await waitFor('its heartbeat', () => got.includes('event: heartbeat'));
      expect(server.readers).toBe(1);
      // With all read, so that it is closed politely: a reset would be noticed by any proxy.
      socket.destroy();
      await waitFor('it to be gone', () => server.readers === 0, 5000);
    });

    for (const carrier of carriers) {
      test(`what is posted is told over ${carrier.name} at once`, async () => {
        const [ada, bob] = [await Person.logIn(url), await Person.logIn(url)];
        const { cursor } = await bob.history();
        const follower = carrier.follow(bob, ['lobby'], cursor);
        try {
          const isProven = () => follower.all.some(({ kind, n }) => kind === 'heartbeat' && n === 1);
          if (carrier.saysHello) await waitFor('the proving heartbeat', isProven, 2500);
          for (const text of ['one', 'two']) {
            await ada.post(text);
            await waitFor(text, () => follower.texts.at(-1) === text, TOLD_WITHIN_MS);
          }
          expect(follower.texts).toEqual(['one', 'two']);
        } finally {
          await follower.cut();
        }
        expect(follower.failure).toBeUndefined();
      });
    }

    test('what lasts isn’t compressed, though the site compresses', async () => {
      const person = await Person.logIn(url);
      const { cursor } = await person.history();
      const abort = new AbortController();
      const live = `/plain/lobby/live?after=${cursor}`;
      for (const path of ['/api/stream?rooms=lobby', live, '/api/poll?rooms=lobby&wait=1&drip=1']) {
        const res = await person.get(path, { signal: abort.signal });
        expect(res.status).toBe(200);
        expect(res.headers.get('content-encoding') ?? 'identity').toBe('identity');
      }
      abort.abort();
    });

    test('the page loads with all that it is made of, also without the slash at the end of its address', async () => {
      const res = await fetch(url);
      expect(res.url).toBe(`${url}/`);
      const page = await res.text();
      const files = Array.from(page.matchAll(/(?:src|href)="([^"#]+\.\w+)"/g), ([, path = '']) => path);
      expect(files).toEqual(expect.arrayContaining([expect.stringMatching(/\.js$/)]));
      for (const file of files) expect((await fetch(new URL(file, res.url))).status).toBe(200);
    });

    test('the plain page’s forms work, and its held frame grows', async () => {
      const visitor = new PlainVisitor(url);
      await visitor.load('lobby');
      await visitor.send('log-in', { name: `plain ${recipe.name}` }, { Origin: origin });
      const frame = LiveFrame.open(visitor, visitor.frame);
      try {
        await waitFor('the frame', () => frame.text.includes('proof'));
        await visitor.send('post', { text: `by a form, ${recipe.name}` }, { Origin: origin });
        expect(visitor.status).toBe(200);
        await waitFor('it in the frame', () => frame.texts.length > 0, TOLD_WITHIN_MS);
      } finally {
        await frame.cut();
      }
    });

    test('pages of the site itself may log in and open sockets; other sites’ may not', async () => {
      const logIn = (from: string) =>
        fetch(`${url}/api/session`, {
          method: 'POST',
          headers: { Origin: from },
          body: new URLSearchParams({ name: `${Math.random()}` }),
        });
      expect((await logIn(origin)).status).toBe(201);
      expect((await logIn('https://elsewhere.example')).status).toBe(403);
      const { cookie } = await Person.logIn(url);
      const open = async (from: string) => {
        const socket = new WebSocket(`${url.replace('http', 'ws')}/api/socket?rooms=lobby`, {
          headers: { Cookie: cookie, Origin: from },
        });
        const answer = Promise.race([
          once(socket, 'open').then(() => 'open'),
          once(socket, 'unexpected-response').then(([, res]) => res.statusCode),
        ]);
        socket.on('error', () => {});
        const got = await answer;
        socket.terminate();
        return got;
      };
      expect(await open(origin)).toBe('open');
      expect(await open('https://elsewhere.example')).toBe(403);
    });

    test('the session’s cookie is of the path alone, and Secure over HTTPS and nowhere else, whatever a browser claims', async () => {
      const logIn = await fetch(`${url}/api/session`, {
        method: 'POST',
        headers: { 'X-Forwarded-Proto': 'https' },
        body: new URLSearchParams({ name: `http ${recipe.name}` }),
      });
      // Without an Origin a form is refused: only what a browser sends is let in.
      expect(logIn.status).toBe(403);
      const insecure = await fetch(`${url}/api/session`, {
        method: 'POST',
        headers: { 'X-Forwarded-Proto': 'https', Origin: origin },
        body: new URLSearchParams({ name: `http ${recipe.name}` }),
      });
      expect(insecure.status).toBe(201);
      expect(insecure.headers.get('set-cookie')).toMatch(/^throughline\.sid=.*; Path=\/chat;/);
      expect(insecure.headers.get('set-cookie')).not.toMatch(/Secure/);
      const secure = await askOverTls(
        mount.tlsPort,
        '/chat/api/session',
        {
          method: 'POST',
          headers: {
            'Content-Type': 'application/x-www-form-urlencoded',
            Origin: `https://localhost:${mount.tlsPort}`,
          },
        },
        `name=https+${encodeURIComponent(recipe.name)}`,
      );
      expect(secure.status).toBe(201);
      expect(secure.headers['set-cookie']?.[0]).toMatch(/^throughline\.sid=.*; Path=\/chat;.*; Secure/);
    });

    test('the service is told who asks by the proxy, not by the browser', async () => {
      const forged = { 'X-Forwarded-For': '203.0.113.9', 'X-Forwarded-Proto': 'https' };
      const echo = await fetch(`${url}/api/doctor/echo`, { headers: forged });
      const { headers, httpVersion } = (await echo.json()) as {
        headers: Record<string, string>;
        httpVersion: string;
      };
      expect(httpVersion).toBe('1.1');
      expect(headers['x-forwarded-proto']).toBe('http');
      expect(headers['x-forwarded-for']?.split(/,\s*/).at(-1)).toBe('127.0.0.1');
    });

    test('the site gets what isn’t the chat’s, as before', async () => {
      seen = [];
      for (const path of ['/', '/chatter', '/about?x=%2Fchat%2F', '/blog/chat/'])
        expect(await (await fetch(origin + path)).text()).toBe('the site');
      const posted = await fetch(`${origin}/order`, {
        method: 'POST',
        headers: { Cookie: 'PHPSESSID=1' },
        body: new URLSearchParams({ item: 'é' }),
      });
      expect(posted.headers.get('set-cookie')).toBe('PHPSESSID=1; Path=/');
      expect((await askOverTls(mount.tlsPort, '/')).text).toBe('the site');
      expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
        'GET /',
        'GET /chatter',
        'GET /about?x=%2Fchat%2F',
        'GET /blog/chat/',
        'POST /order',
        'GET /',
      ]);
      expect(seen[4]).toMatchObject({ body: 'item=%C3%A9', headers: { cookie: 'PHPSESSID=1' } });
      await Person.logIn(url).then((person) => person.post('not for the site'));
      expect(seen).toHaveLength(6);
    });

    test.runIf(recipe.program === 'apache2' || recipe.program === 'httpd')(
      'more streams than httpd has threads leave some for the site',
      async () => {
        const person = await Person.logIn(url);
        const abort = new AbortController();
        try {
          const answers = await Promise.all(
            Array.from({ length: 2 * APACHE_THREADS }, () =>
              person.get('/api/stream?rooms=lobby&heartbeat=1', { signal: abort.signal }),
            ),
          );
          const counts = [200, 503].map(
            (status) => answers.filter((answer) => answer.status === status).length,
          );
          // Connections that others have just left may still be counted.
          expect(counts[0]).toBeGreaterThan(0);
          expect(counts[0]).toBeLessThanOrEqual(APACHE_MAX);
          expect(counts).toEqual([counts[0], answers.length - (counts[0] as number)]);
          expect(await (await fetch(origin)).text()).toBe('the site');
        } finally {
          abort.abort();
          await waitFor('httpd to notice that they left', () => server.readers === 0, 15_000);
        }
      },
    );
  });
}

test.skipIf(recipes.every(isMissing))(
  'silent streams, sockets and polls are held for as long as the service holds them',
  async () => {
    const stayInSilence = async ({ port }: RunningRecipe) => {
      const person = await Person.logIn(`http://127.0.0.1:${port}/chat`);
      const room = `silent-${port}`;
      await person.send('/api/rooms', { room });
      const poll = async (wait: number, after: string) =>
        (await (await person.get(`/api/poll?rooms=${room}&wait=${wait}&after=${after}`)).json()) as {
          events: unknown[];
          cursor: string;
        };
      let { cursor } = await person.history('', room);
      // Its own coming is told to whoever polls.
      await waitFor('its own coming', async () => {
        const { events, cursor: next } = await poll(0, cursor);
        cursor = next;
        return events.length > 0;
      });
      const lasting = carriers
        .filter(({ saysHello }) => saysHello)
        .map((carrier) => carrier.follow(person, [room]));
      try {
        const startedAt = performance.now();
        expect((await poll(POLL_WAIT_S, cursor)).events).toEqual([]);
        expect(performance.now() - startedAt).toBeGreaterThan(POLL_WAIT_S * 1000 - 100);
        for (const { failure, all } of lasting) {
          expect(failure).toBeUndefined();
          expect(all.filter(({ kind }) => kind === 'heartbeat').length).toBeGreaterThan(1);
        }
      } finally {
        await Promise.all(lasting.map((follower) => follower.cut()));
      }
    };
    await Promise.all(mounts.map(stayInSilence));
  },
  60_000,
);
