import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { ServiceProcess } from './support/service-process.ts';
import { waitFor } from './support/wait-for.ts';

const TOKEN = 'a-token-of-the-tests';
const DRAIN_MS = 30_000;
const WELL_UNDER_MS = 5000;

let redis: TestRedis;
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(() => redis.stop());

/** A client that never ends a connection, and what it heard on it. */
class Keeper {
  readonly socket: Socket;
  heard = '';
  isEnded = false;

  constructor(url: string) {
    this.socket = connect(Number(new URL(url).port), '127.0.0.1');
    this.socket.on('error', () => {});
    this.socket.on('data', (bytes) => {
      this.heard += bytes;
    });
    this.socket.once('close', () => {
      this.isEnded = true;
    });
    cleanUps.push(() => this.socket.destroy());
  }

  async ask(person: Person, path: string): Promise<this> {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\n`);
    return this;
  }

  async untilHeard(text: string): Promise<this> {
    await waitFor(text, () => this.heard.includes(text));
    return this;
  }
}

/** Everything that browsers and proxies keep open, several times, so that every worker has its part. */
async function keepOpen(url: string, times: number) {
  const person = await Person.logIn(url);
  // That they are here is news; then there is none for polls to be answered with.
  const isQuiet = async () => (await person.get('/api/poll?rooms=lobby&wait=1')).text();
  await waitFor('quiet', async () => JSON.parse(await isQuiet()).events.length === 0);
  const each = (path: string, sign: string) =>
    Promise.all(
      Array.from({ length: times }, async () => (await new Keeper(url).ask(person, path)).untilHeard(sign)),
    );
  const streams = await each('/api/stream?rooms=lobby', 'hello');
  const polls = await each('/api/poll?rooms=lobby&wait=25&drip=1', '\r\n\r\n');
  const answered = await each('/api/rooms', '"rooms"');
  const silent = Array.from({ length: times }, () => new Keeper(url));
  await Promise.all(silent.map(({ socket }) => once(socket, 'connect')));
  const agent = new Agent({ keepAlive: true });
  cleanUps.push(() => agent.destroy());
  const held = Array.from({ length: times }, async () => {
    const headers = { Cookie: person.cookie };
    const [res] = await once(
      request(`${url}/api/poll?rooms=lobby&wait=25`, { agent, headers }).end(),
      'response',
    );
    let text = '';
    for await (const bytes of res) text += bytes;
    return { text, connection: res.headers.connection as string };
  });
  return { streams, polls, answered, silent, held };
}

async function expectQuick(stop: () => Promise<unknown>, open: Awaited<ReturnType<typeof keepOpen>>) {
  const startedAt = performance.now();
  await stop();
  expect(performance.now() - startedAt).toBeLessThan(WELL_UNDER_MS);
  const { streams, polls, answered, silent, held } = open;
  for (const { heard } of streams)
    expect(heard).toMatch(/event: bye[\s\S]*shutting_down[\s\S]*\r\n0\r\n\r\n$/);
  for (const { heard } of polls) expect(heard).toMatch(/shutting_down[\s\S]*\r\n0\r\n\r\n$/);
  for (const { text, connection } of await Promise.all(held)) {
    expect(JSON.parse(text).events).toMatchObject([{ kind: 'bye', code: 'shutting_down' }]);
    expect(connection).toBe('close');
  }
  const all = [...streams, ...polls, ...answered, ...silent];
  await waitFor('the end of all connections', () => all.every(({ isEnded }) => isEnded));
}

describe('a stop with streams, polls and kept-alive connections takes no time', () => {
  test('in a process alone', async () => {
    const server = await startTestServer(testConfig(redis, { drainMs: DRAIN_MS }));
    cleanUps.push(() => server.close());
    const open = await keepOpen(server.url, 2);
    await waitFor('the polls', () => server.readers === 6);
    await expectQuick(() => server.close(), open);
  });

  test('with workers', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tl-stop-'));
    cleanUps.push(() => rm(folder, { recursive: true, force: true }));
    const service = new ServiceProcess([], {
      WORKERS: '2',
      PORT: '0',
      DATA_DIR: folder,
      LOG_LEVEL: 'info',
      METRICS_TOKEN: TOKEN,
      DRAIN_MS: String(DRAIN_MS),
    });
    cleanUps.push(() => service.hasExited || service.kill('SIGKILL'));
    const url = await service.url();
    await waitFor('both', () => service.out.split('"a worker listens"').length === 3, 20_000);
    const open = await keepOpen(url, 6);
    const polls = async () =>
      (await scrape(`${url}/metrics`, TOKEN)).get('throughline_readers{carrier="long-poll"}');
    await waitFor('the polls', async () => (await polls()) === 12);
    const stop = () => service.kill('SIGTERM');
    await expectQuick(async () => expect(await stop()).toBe(0), open);
  }, 60_000);
});

test('an answer that is still being taken is whole, though its connection was kept alive', async () => {
  const server = await startTestServer(testConfig(redis, { drainMs: DRAIN_MS }));
  cleanUps.push(() => server.close());
  const person = await Person.logIn(server.url);
  for (let i = 0; i < 40; i++) await person.post(`${i} ${'x'.repeat(3900)}`);
  const keeper = new Keeper(server.url);
  keeper.socket.pause();
  for (let i = 0; i < 30; i++) await keeper.ask(person, '/api/rooms/lobby/messages?limit=40');
  await person.history();
  const closing = server.close();
  keeper.socket.resume();
  await closing;
  await waitFor('the end', () => keeper.isEnded);
  const lengths = Array.from(keeper.heard.matchAll(/Content-Length: (\d+)\r\n[\s\S]*?\r\n\r\n/gi));
  expect(lengths.length).toBeGreaterThan(0);
  const { index = 0, 0: head, 1: length } = lengths.at(-1) as RegExpMatchArray;
  expect(index + head.length + Number(length)).toBe(keeper.heard.length);
});
