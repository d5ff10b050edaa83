import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { OpenConnections } from '../src/http/open-connections.ts';
import type { RunningServer } from '../src/server.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let service: RunningServer;
const sockets: Socket[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  service = await startTestServer(testConfig(redis, { heartbeatMs: 1000 }));
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});
afterAll(async () => {
  await service.close();
  await redis.stop();
});

/** A client that speaks HTTP by hand over one connection. */
class Hand {
  readonly socket: Socket;
  heard = '';
  isOver = false;

  constructor(port = Number(new URL(service.url).port)) {
    this.socket = connect({
      port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    this.socket.setEncoding('utf8');
    this.socket.on('data', (text: string) => {
      this.heard += text;
    });
    this.socket.on('error', () => {});
    this.socket.on('end', () => {
      this.isOver = true;
    });
    this.socket.on('close', () => {
      this.isOver = true;
    });
    sockets.push(this.socket);
  }

  ask(person: Person, path: string, version = '1.1'): void {
    this.socket.write(`GET ${path} HTTP/${version}\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\n`);
  }

  until(text: string): Promise<unknown> {
    return waitFor(text, () => this.heard.includes(text));
  }
}

const STREAM = '/api/stream?rooms=lobby';
const FILLER = /^: {2046}$/m;

test('filler follows a small beginning, and none a beginning that is larger than it', async () => {
  const person = await Person.logIn(service.url);
  const { cursor } = await person.history();
  const first = await person.post('x'.repeat(1500));
  for (let n = 0; n < 27; n++) await person.post('y'.repeat(1500));
  const lastButThree = await person.post('z'.repeat(1500));
  for (let n = 0; n < 3; n++) await person.post('y'.repeat(1500));
  const hands = Array.from({ length: 5 }, () => new Hand());
  const [fresh, resumed, far, near, late] = hands as [Hand, Hand, Hand, Hand, Hand];
  const at = (id: string) => `${STREAM}&after=${cursor.split('.')[0]}.${id}`;
  fresh.ask(person, STREAM);
  resumed.ask(person, `${STREAM}&after=${cursor}`);
  far.ask(person, at(first));
  near.ask(person, at(lastButThree));
  // What was answered on its connection before doesn't count.
  late.ask(person, '/api/rooms/lobby/messages');
  await late.until('"cursor"');
  late.ask(person, STREAM);
  await Promise.all(hands.map((hand) => hand.until('"kind":"heartbeat","n":1')));
  for (const { heard } of [fresh, late]) expect(heard).toMatch(FILLER);
  expect(resumed.heard).toContain('x'.repeat(1500));
  // Some larger than what a socket takes before it says that it is full, one smaller.
  for (const { heard } of [resumed, far, near]) expect(heard).not.toMatch(FILLER);
});

test('a stream goes on as one whole chunked answer, and after its bye the connection serves the next request', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  hand.ask(person, STREAM);
  await hand.until('event: hello');
  await person.post('said while it streams');
  await hand.until('said while it streams');
  await hand.until('"kind":"heartbeat","n":1');
  expect(hand.heard.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
  expect(hand.heard).not.toContain('\r\n0\r\n\r\n');
  await person.send('/api/session/end', {});
  await hand.until('"code":"session_ended"');
  await hand.until('\r\n0\r\n\r\n');
  const body = hand.heard.slice(hand.heard.indexOf('\r\n\r\n') + 4);
  expect(unchunked(body)).toMatch(/^id: .*event: bye\ndata: \{.*"session_ended".*\}\n\n$/s);
  hand.heard = '';
  hand.ask(await Person.logIn(service.url), '/healthz');
  await hand.until('"status":"up"');
  expect(hand.isOver).toBe(false);
});

test('whoever asks for something else in the middle of a stream is cut off, before an answer lands in it', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  hand.ask(person, STREAM);
  await hand.until('event: hello');
  hand.ask(person, '/healthz');
  await waitFor('the end', () => hand.isOver);
  expect(hand.heard).not.toContain('"status"');
});

test('a request sent along behind a stream’s is no reason to end it', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  hand.socket.write(
    `GET ${STREAM} HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`,
  );
  await hand.until('"kind":"heartbeat","n":1');
  expect(hand.heard).not.toContain('"status"');
});

test('a client that ends its half of the connection has left', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  const before = service.readers;
  hand.ask(person, STREAM);
  await hand.until('event: hello');
  expect(service.readers).toBe(before + 1);
  hand.socket.end();
  await waitFor('the reader has gone', () => service.readers === before);
  await waitFor('the connection ends', () => hand.isOver);
});

test('a client that polls, and sent a large body along with its GET, is seen to leave', async () => {
  const person = await Person.logIn(service.url);
  await waitFor('those before it have gone', () => service.readers === 0);
  // Their going, and that this one has come, are news that a poll doesn't wait for.
  let { cursor } = await person.history();
  await waitFor('there is no more news', async () => {
    const polled = (await (await person.get(`/api/poll?rooms=lobby&wait=1&after=${cursor}`)).json()) as {
      events: unknown[];
      cursor: string;
    };
    cursor = polled.cursor;
    return polled.events.length === 0;
  });
  const hand = new Hand();
  const body = 'x'.repeat(1_000_000);
  hand.socket.write(
    `GET /api/poll?rooms=lobby&wait=25&after=${cursor} HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await waitFor('it waits', () => service.readers === 1);
  hand.socket.destroy();
  await waitFor('the reader has gone', () => service.readers === 0);
});

test('a client that streams, and sent a large body along with its GET, is seen to leave before its next heartbeat', async () => {
  const calm = await startTestServer(testConfig(redis, { heartbeatMs: 60_000 }));
  try {
    const person = await Person.logIn(calm.url);
    const hand = new Hand(Number(new URL(calm.url).port));
    const body = 'x'.repeat(1_000_000);
    // Of a connection that isn't kept the request isn't over before its response is.
    hand.socket.write(
      `GET ${STREAM} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: ${person.cookie}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await hand.until('event: heartbeat');
    hand.socket.destroy();
    await waitFor('the reader has gone', () => calm.readers === 0);
  } finally {
    await calm.close();
  }
});

test('a stream over HTTP/1.0 ends with its connection', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  hand.ask(person, STREAM, '1.0');
  await hand.until('event: hello');
  await person.send('/api/session/end', {});
  await hand.until('"code":"session_ended"');
  await waitFor('the end', () => hand.isOver);
  expect(hand.heard).not.toContain('chunked');
});

test('a stream whose client wants its connection ended afterwards isn’t ended before', async () => {
  const person = await Person.logIn(service.url);
  const hand = new Hand();
  hand.socket.write(
    `GET ${STREAM} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: ${person.cookie}\r\n\r\n`,
  );
  await hand.until('"kind":"heartbeat","n":2');
  await person.send('/api/session/end', {});
  await hand.until('"code":"session_ended"');
  await waitFor('the end', () => hand.isOver);
  expect(hand.heard.endsWith('\r\n0\r\n\r\n')).toBe(true);
});

test('a stream that says nothing for longer than idle connections are kept isn’t taken for one', async () => {
  const connections = new OpenConnections();
  const keepAliveTimeout = 50;
  const server = createServer({ keepAliveTimeout }, (req, res) => {
    const { socket } = req;
    res.writeHead(200).flushHeaders();
    // It is for whoever attends its server to hold.
    expect(new OpenConnections().hold(res)).toBe(false);
    expect(connections.hold(res)).toBe(true);
    setTimeout(() => socket.write('5\r\nat la\r\n'), 40 * keepAliveTimeout);
  });
  connections.attend(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hand = new Hand((server.address() as AddressInfo).port);
  hand.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await hand.until('at la');
  expect(hand.isOver).toBe(false);
  hand.socket.destroy();
  await connections.close(0, 0);
});

/** [spec] RFC 9112, 7.1.3: decodes a chunked body that must be whole. */
function unchunked(body: string): string {
  const bytes = Buffer.from(body);
  let text = '';
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (size === 0) return text;
    text += bytes.toString('utf8', end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}
