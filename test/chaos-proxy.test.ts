import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { ChaosProxy } from './proxies/chaos.ts';
import { isEventStream, isPoll, isStream, type Rule } from './proxies/habits.ts';
import { waitFor } from './support/wait-for.ts';

const TICK_MS = 50;
let service: Server;
let port: number;
/** Streams that the service is writing to. */
let openStreams = 0;
let version = '';
const proxies: ChaosProxy[] = [];

/** `/api/stream` says `tick 0`, `tick 1`, …, one each 50 ms; `/api/poll` answers after `ms`, with `bytes`. */
beforeAll(async () => {
  let answers = 0;
  service = createServer((req, res) => {
    version = req.httpVersion;
    const url = new URL(req.url as string, 'http://service');
    if (url.pathname === '/api/stream') {
      const asBytes = req.method === 'POST';
      res.writeHead(200, { 'Content-Type': asBytes ? 'application/octet-stream' : 'text/event-stream' });
      let count = 0;
      openStreams++;
      const until = Number(url.searchParams.get('ticks') ?? Infinity);
      const timer = setInterval(() => {
        if (count === until) return void res.end();
        res.write(`tick ${count++}\n`);
      }, TICK_MS);
      res.once('close', () => {
        openStreams--;
        clearInterval(timer);
      });
      return;
    }
    const bytes = Number(url.searchParams.get('bytes') ?? 0);
    const answer = `answer ${++answers} ${JSON.stringify(req.headers)}${'x'.repeat(bytes)}`;
    setTimeout(() => res.setHeader('Throughline', '1').end(answer), Number(url.searchParams.get('ms') ?? 0));
  });
  const sockets = new WebSocketServer({ server: service, path: '/api/socket' });
  sockets.on('connection', (socket) => {
    let count = 0;
    const timer = setInterval(() => socket.send(`tick ${count++}`), TICK_MS);
    socket.on('message', (data) => socket.send(`echo ${data}`));
    socket.once('close', () => clearInterval(timer));
  });
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  port = (service.address() as AddressInfo).port;
});
afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
});
afterAll(() => void service.close());

async function behind(...rules: Rule[]): Promise<ChaosProxy> {
  const proxy = await ChaosProxy.start({ port }, rules);
  proxies.push(proxy);
  return proxy;
}

/** What a client hears of an answer: when its headers came, what of its body, and how it ended. */
class Listening {
  status: number | undefined;
  text = '';
  ended: 'clean' | 'torn' | undefined;
  readonly startedAt = performance.now();
  readonly done: Promise<void>;
  readonly #leaving = new AbortController();

  constructor(url: string, init: RequestInit = {}) {
    this.done = this.#listen(url, init);
  }

  leave(): void {
    this.#leaving.abort();
  }

  async #listen(url: string, init: RequestInit): Promise<void> {
    try {
      const res = await fetch(url, { ...init, signal: this.#leaving.signal });
      this.status = res.status;
      const decoder = new TextDecoder();
      for await (const chunk of res.body ?? []) this.text += decoder.decode(chunk, { stream: true });
      this.ended = 'clean';
    } catch {
      this.ended = 'torn';
    }
  }
}

const ticks = (text: string) => text.split('\n').length - 1;

/** Lets so many ticks of the service go by, seen on a connection of their own. */
async function goBy(count: number): Promise<void> {
  await (await fetch(`http://127.0.0.1:${port}/api/stream?ticks=${count}`)).text();
}

describe('the chaos proxy', () => {
  test('without rules passes everything on as it comes, and leaves when the client does', async () => {
    const proxy = await behind();
    const before = openStreams;
    const heard = new Listening(`${proxy.url}/api/stream`);
    await waitFor('three ticks', () => ticks(heard.text) >= 3);
    expect(proxy.openConnections).toBe(1);
    heard.leave();
    await waitFor('the stream to end', () => openStreams === before);
    const posted = await fetch(`${proxy.url}/api/post?ms=0`, { method: 'POST', body: 'x' });
    expect(await posted.text()).toContain('"content-length":"1"');
    expect(proxy.asked.get('POST /api/post')).toBe(1);
  });

  test('holds a whole answer, headers included, until its end', async () => {
    const proxy = await behind({ hold: 'answer' });
    const heard = new Listening(`${proxy.url}/api/stream?ticks=8`);
    await goBy(5);
    expect(heard).toMatchObject({ status: undefined, text: '' });
    await heard.done;
    expect(ticks(heard.text)).toBe(8);
  });

  test('holds a body whose headers it lets through', async () => {
    const proxy = await behind({ hold: 'body' });
    const heard = new Listening(`${proxy.url}/api/stream?ticks=8`);
    await waitFor('headers', () => heard.status === 200);
    await goBy(5);
    expect(heard.text).toBe('');
    await heard.done;
    expect(ticks(heard.text)).toBe(8);
  });

  test('holds each write until the next one', async () => {
    const proxy = await behind({ hold: 'writes' });
    const heard = new Listening(`${proxy.url}/api/stream?ticks=3`);
    const direct = new Listening(`http://127.0.0.1:${port}/api/stream?ticks=3`);
    await waitFor('the second tick', () => ticks(direct.text) === 2);
    expect(ticks(heard.text)).toBeLessThan(2);
    await heard.done;
    expect(ticks(heard.text)).toBe(3);
  });

  test('passes only whole blocks', async () => {
    const proxy = await behind({ hold: 16 });
    const heard = new Listening(`${proxy.url}/api/stream?ticks=7`);
    await waitFor('a block', () => heard.text.length > 0);
    expect(heard.text.length % 16).toBe(0);
    await heard.done;
    expect(ticks(heard.text)).toBe(7);
  });

  test.each([
    ['torn', 'torn'],
    ['broken-chunk', 'torn'],
    ['clean', 'clean'],
  ] as const)('cuts at an age: %s', async (how, ended) => {
    const proxy = await behind({ cut: { afterMs: 300, how } });
    const heard = new Listening(`${proxy.url}/api/stream`);
    await heard.done;
    expect(heard.ended).toBe(ended);
    expect(performance.now() - heard.startedAt).toBeGreaterThan(280);
    expect(ticks(heard.text)).toBeGreaterThan(2);
  });

  test('cuts what is idle, and leaves what isn’t', async () => {
    const proxy = await behind({ cut: { idleMs: 300, how: 'torn' } });
    const idle = new Listening(`${proxy.url}/api/poll?ms=5000`);
    const busy = new Listening(`${proxy.url}/api/stream?ticks=10`);
    await Promise.all([idle.done, busy.done]);
    expect(idle).toMatchObject({ ended: 'torn', status: undefined });
    expect(busy.ended).toBe('clean');
  });

  test('answers 504 where a cut that looks clean comes before the headers', async () => {
    const proxy = await behind({ on: isPoll, cut: { afterMs: 200, how: 'clean' } });
    expect((await fetch(`${proxy.url}/api/poll?ms=5000`)).status).toBe(504);
  });

  test('cuts after so many bytes', async () => {
    const proxy = await behind({ cut: { bytes: 20, how: 'torn' } });
    const heard = new Listening(`${proxy.url}/api/stream`);
    await heard.done;
    expect(heard.text).toHaveLength(20);
  });

  test('becomes a black hole for the client, and goes on reading from the service', async () => {
    const proxy = await behind({ blackHoleAfterMs: 200 });
    const before = openStreams;
    const heard = new Listening(`${proxy.url}/api/stream`);
    await waitFor('a tick', () => ticks(heard.text) > 0);
    await goBy(5);
    const sofar = heard.text;
    proxy.rules = [];
    await goBy(5);
    expect(heard).toMatchObject({ text: sofar, ended: undefined });
    expect(openStreams).toBe(before + 1);
    expect((await fetch(`${proxy.url}/api/poll`)).status).toBe(200);
  });

  test('starts to hold, and lets go, in the middle of a stream', async () => {
    const proxy = await behind();
    const heard = new Listening(`${proxy.url}/api/stream`);
    await waitFor('a tick', () => ticks(heard.text) > 0);
    proxy.rules = [{ hold: 'answer' }];
    const sofar = heard.text;
    await goBy(4);
    expect(heard.text).toBe(sofar);
    proxy.rules = [];
    await waitFor('what was held', () => ticks(heard.text) > ticks(sofar) + 3);
    expect(heard.text).toMatch(/^tick 0\ntick 1\ntick 2\n/);
  });

  test('takes headers away in both directions', async () => {
    const proxy = await behind({ strip: { request: ['x-mine'], answer: ['throughline'] } });
    const res = await fetch(`${proxy.url}/api/poll`, { headers: { 'X-Mine': '1', 'X-Other': '2' } });
    expect(res.headers.has('throughline')).toBe(false);
    const text = await res.text();
    expect(text).toContain('x-other');
    expect(text).not.toContain('x-mine');
  });

  test('refuses event streams alone, by their type', async () => {
    const proxy = await behind({ on: isEventStream, hold: 'answer' });
    const named = new Listening(`${proxy.url}/api/stream`);
    const bytes = new Listening(`${proxy.url}/api/stream`, { method: 'POST' });
    await waitFor('ticks by POST', () => ticks(bytes.text) > 4);
    expect(named.status).toBeUndefined();
  });

  test('answers for the service, on some routes', async () => {
    const proxy = await behind({ on: isStream, answer: { status: 407, html: '<html>Who are you?</html>' } });
    // [spec] Fetch, HTTP-network-or-cache fetch: a 407 is a network error there.
    const [refused] = (await once(get(`${proxy.url}/api/stream`), 'response')) as [IncomingMessage];
    expect(refused.resume().statusCode).toBe(407);
    expect(refused.headers['content-type']).toBe('text/html');
    expect((await fetch(`${proxy.url}/api/poll`)).status).toBe(200);
    expect(proxy.passedOn.has('GET /api/stream')).toBe(false);
  });

  test('repeats a GET that takes long, and tells nothing meanwhile', async () => {
    const proxy = await behind({ repeat: { everyMs: 200, times: 3 } });
    expect((await fetch(`${proxy.url}/api/poll?ms=5000`)).status).toBe(504);
    expect(proxy.asked.get('GET /api/poll')).toBe(1);
    expect(proxy.passedOn.get('GET /api/poll')).toBe(3);
    expect((await fetch(`${proxy.url}/api/poll?ms=50`)).status).toBe(200);
  });

  test('answers the same URL from memory', async () => {
    const proxy = await behind({ cacheMs: 5000 });
    const ask = async (query: string) => (await fetch(`${proxy.url}/api/poll?${query}`)).text();
    const first = await ask('t=1');
    expect(await ask('t=1')).toBe(first);
    expect(await ask('t=2')).not.toBe(first);
  });

  test('compresses without flushing', async () => {
    const proxy = await behind({ gzip: true });
    const heard = new Listening(`${proxy.url}/api/stream?ticks=8`);
    await waitFor('headers', () => heard.status === 200);
    await goBy(4);
    expect(heard.text).toBe('');
    await heard.done;
    expect(ticks(heard.text)).toBe(8);
  });

  test('speaks HTTP/1.0 to the service', async () => {
    const proxy = await behind({ http10: true });
    const heard = new Listening(`${proxy.url}/api/stream`);
    await waitFor('ticks', () => ticks(heard.text) > 1);
    expect(version).toBe('1.0');
    expect((await fetch(`${proxy.url}/api/post`, { method: 'POST', body: 'x' })).status).toBe(200);
  });

  test('refuses answers that are too long', async () => {
    const proxy = await behind({ maxAnswerBytes: 64 * 1024 });
    expect((await fetch(`${proxy.url}/api/poll?bytes=70000`)).status).toBe(502);
    expect((await fetch(`${proxy.url}/api/poll?bytes=60000`)).status).toBe(200);
  });

  test('delays each direction', async () => {
    const proxy = await behind({ delayMs: { up: 150, down: 150 } });
    const startedAt = performance.now();
    await (await fetch(`${proxy.url}/api/poll`)).text();
    expect(performance.now() - startedAt).toBeGreaterThan(290);
  });

  test('goes on reading from the service when the client has left', async () => {
    const proxy = await behind({ lingerMs: 400 });
    const before = openStreams;
    const heard = new Listening(`${proxy.url}/api/stream`);
    await waitFor('a tick', () => ticks(heard.text) > 0);
    heard.leave();
    await goBy(4);
    expect(openStreams).toBe(before + 1);
    await waitFor('the stream to end', () => openStreams === before);
  });

  describe('asked to upgrade', () => {
    function open(proxy: ChaosProxy) {
      const socket = new WebSocket(`${proxy.url.replace('http', 'ws')}/api/socket`);
      const heard: string[] = [];
      let ended: 'refused' | 'closed' | undefined;
      socket.on('message', (data) => heard.push(String(data)));
      socket.on('error', () => {
        ended = 'refused';
      });
      socket.on('close', () => {
        ended ??= 'closed';
      });
      return { socket, heard, ended: () => ended };
    }

    test('passes frames both ways, unless it becomes a black hole', async () => {
      const proxy = await behind();
      const { socket, heard, ended } = open(proxy);
      await waitFor('frames', () => heard.length > 2);
      socket.send('me');
      await waitFor('the echo', () => heard.includes('echo me'));
      proxy.rules = [{ blackHoleAfterMs: 0 }];
      await goBy(1);
      const sofar = heard.length;
      await goBy(4);
      expect(heard).toHaveLength(sofar);
      expect(ended()).toBeUndefined();
      socket.terminate();
    });

    test('refuses', async () => {
      const { ended } = open(await behind({ upgrades: 'refuse' }));
      await waitFor('the refusal', () => ended() === 'refused');
    });

    test('accepts and holds the frames', async () => {
      const { socket, heard } = open(await behind({ upgrades: 'hold' }));
      await once(socket, 'open');
      await goBy(4);
      expect(heard).toEqual([]);
      socket.terminate();
    });

    test('cuts', async () => {
      const { socket, ended } = open(await behind({ cut: { afterMs: 300, how: 'torn' } }));
      await once(socket, 'open');
      await waitFor('the cut', () => ended() !== undefined);
    });
  });
});
