import { EventSource } from 'eventsource';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig, type WireEvent } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

function open(person: Person, url: string, heard: WireEvent[]): EventSource {
  const source = new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Cookie: person.cookie } }),
  });
  const hear = ({ data }: { data: string }) => heard.push(JSON.parse(data) as WireEvent);
  source.onmessage = hear;
  for (const kind of ['hello', 'heartbeat', 'gap', 'bye']) source.addEventListener(kind, hear);
  return source;
}

test('a plain EventSource is sent away at a restart, comes back by itself, and has missed nothing', async () => {
  const config = testConfig(redis, { heartbeatMs: 200 });
  let server = await startTestServer(config);
  const person = await Person.logIn(server.url);
  const heard: WireEvent[] = [];
  const source = open(person, `${server.url}/api/stream?rooms=lobby`, heard);
  try {
    await waitFor('three heartbeats', () => heard.filter(({ kind }) => kind === 'heartbeat').length >= 3);
    expect(heard[0]?.kind).toBe('hello');
    expect(heard.filter(({ kind }) => kind === 'heartbeat').map(({ n }) => n)).toEqual([1, 2, 3]);
    await person.post('one');
    await waitFor('one', () => heard.some(({ text }) => text === 'one'));
    const { port } = new URL(server.url);
    await server.close();
    await waitFor('bye', () => heard.some(({ code }) => code === 'shutting_down'));
    server = await startTestServer({ ...config, port: Number(port) });
    await person.post('two');
    await waitFor('two', () => heard.some(({ text }) => text === 'two'));
    expect(heard.filter(({ kind }) => kind === 'message').map(({ text }) => text)).toEqual(['one', 'two']);
    expect(heard.filter(({ kind }) => kind === 'gap')).toEqual([]);
  } finally {
    source.close();
    await server.close();
  }
});

test('a stream that its client should confirm ends when it doesn’t, and lives when it does', async () => {
  const server = await startTestServer(
    testConfig(redis, { heartbeatMs: 200, confirmMs: 900, leaseMs: 2000 }),
  );
  const person = await Person.logIn(server.url);
  const other = await Person.logIn(server.url);
  const [silent, confirming]: WireEvent[][] = [[], []];
  const sources = [silent, confirming].map((heard) =>
    open(person, `${server.url}/api/stream?rooms=lobby&confirm=1`, heard as WireEvent[]),
  );
  try {
    const { nonce } = await waitFor('hello', () => confirming?.[0]);
    const [{ nonce: unconfirmed }] = [await waitFor('hello', () => silent?.[0])];
    expect((await other.send('/api/confirm', { nonce: unconfirmed })).status).toBe(204);
    expect((await person.send('/api/confirm', { nonce })).status).toBe(204);
    await waitFor('bye', () => silent?.some(({ code }) => code === 'not_confirmed'));
    expect(confirming?.some(({ kind }) => kind === 'bye')).toBe(false);
  } finally {
    for (const source of sources) source.close();
    await server.close();
  }
});
