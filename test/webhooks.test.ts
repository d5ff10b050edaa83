import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseHookDraft, rotated, secretsOf } from '../src/chat/hooks.ts';
import { MAIN_SITE } from '../src/chat/sites.ts';
import type { CommandName } from '../src/cli/commands.ts';
import { runCommand } from '../src/cli/run-command.ts';
import { type Config, DEFAULTS } from '../src/config.ts';
import { DeadLetters } from '../src/log/dead-letters.ts';
import { HookBook } from '../src/log/hook-book.ts';
import { JournalGroup } from '../src/log/journal-group.ts';
import { Keys } from '../src/log/keys.ts';
import type { RunningServer } from '../src/server.ts';
import { Receiver } from '../src/webhooks/receiver.ts';
import { signedHeaders } from '../src/webhooks/sign.ts';
import { Webhooks } from '../src/webhooks/webhooks.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const FAST: Partial<Config> = {
  webhookTimeoutMs: 300,
  webhookBackoffMs: 20,
  webhookTries: 4,
  metricsPort: 0,
};

let redis: TestRedis;
let port: number;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  port = await freePort();
  redis = await startTestRedis(port);
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});
afterAll(() => redis.stop());

/** One call, as a host's server gets it. */
interface Call {
  readonly id: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly event: { type: string; timestamp: string; site: string; data: Record<string, unknown> };
}

type Answer = (res: ServerResponse, call: Call) => void;

/** A host's server, which answers as it is told to. */
class Host {
  readonly calls: Call[] = [];
  answer: Answer = (res) => void res.end();
  atOnce = 0;
  mostAtOnce = 0;
  readonly server = createServer((req, res) => void this.#hear(req, res));

  async listen(at = 0): Promise<string> {
    this.server.listen(at, '127.0.0.1');
    await waitFor('the host', () => this.server.listening);
    closing.push(async () => this.server.close().closeAllConnections());
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  get texts(): unknown[] {
    return this.calls.map(({ event }) => event.data['text']);
  }

  async #hear(req: IncomingMessage, res: ServerResponse): Promise<void> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    res.once('close', () => this.atOnce--);
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const call = {
      id: String(req.headers['webhook-id']),
      headers: req.headers,
      body,
      event: JSON.parse(body) as Call['event'],
    };
    this.calls.push(call);
    this.answer(res, call);
  }
}

function fails(status: number): Answer {
  return (res) => void res.writeHead(status).end('no'.repeat(10_000));
}

const REFUSING: [string, Answer, unknown][] = [
  ['answers 500', fails(500), 'status 500'],
  ['redirects', (res) => void res.writeHead(307, { Location: 'http://127.0.0.1:1/' }).end(), 'status 307'],
  ['never answers', () => {}, 'no answer within 300 ms'],
  ['hangs up', (res) => void res.destroy(), expect.stringMatching(/socket|SOCKET|closed/)],
];

async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, { ...FAST, ...overrides });
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  closing.push(() => Promise.all(servers.map((server) => server.close())));
  const [server] = servers as [RunningServer];
  const env = { REDIS_URL: `redis://127.0.0.1:${port}`, NAMESPACE: config.namespace };
  const ada = await Person.logIn(server.url, 'Ada');
  const samples = async () => {
    let sum = { delivered: 0, retried: 0, dead: 0, dropped: 0, trimmed: 0 };
    for (const { metricsUrl } of servers) {
      const told = await scrape(metricsUrl as string);
      const calls = (outcome: string) =>
        told.get(`throughline_webhook_calls_total{outcome="${outcome}"}`) ?? 0;
      sum = {
        delivered: sum.delivered + calls('delivered'),
        retried: sum.retried + calls('retried'),
        dead: sum.dead + calls('dead'),
        dropped: sum.dropped + (told.get('throughline_webhook_dead_letters_dropped_total') ?? 0),
        trimmed: sum.trimmed + (told.get('throughline_webhook_trimmed_total') ?? 0),
      };
    }
    return sum;
  };
  return { config, servers, server, env, ada, samples };
}

async function run(env: Record<string, string>, name: CommandName, ...args: string[]) {
  const [said, complained]: string[][] = [[], []];
  const { signal } = new AbortController();
  const say = (line: string) => void (said as string[]).push(line);
  const complain = (line: string) => void (complained as string[]).push(line);
  const code = await runCommand({ env, say, complain, signal }, name, [...args, '--json']);
  const answers = (said as string[]).map((line) => JSON.parse(line) as Record<string, string>);
  return { code, answers, complained: (complained as string[]).join('\n') };
}

async function addHook(env: Record<string, string>, url: string, events = 'message', site = 'main') {
  const { answers, complained } = await run(env, 'site', 'webhook', 'add', site, url, '--events', events);
  if (answers[0] === undefined) throw new Error(complained);
  return answers[0] as { id: string; secret: string };
}

test('what is signed is what the scheme’s own example says', () => {
  const body = '{"test": 2432232314}';
  const headers = signedHeaders(
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    1614265330,
    body,
  );
  expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

describe('a receiver', () => {
  test('is told what it chose, of its own site, signed and with the time', async () => {
    const { env, ada, server } = await serve();
    const host = new Host();
    const { secret } = await addHook(env, await host.listen(), 'message,closed');
    await run(env, 'site', 'add', 'shop');
    await (await Person.logIn(server.url, 'Eve', 'shop')).post('elsewhere');
    await ada.send('/api/confirm', { rooms: ['lobby'] });
    const id = await ada.post('hello “you”');
    const { answers } = await run(env, 'key', 'add', 'main');
    await fetch(`${server.url}/api/rooms/lobby/close`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${answers[0]?.['secret']}` },
    });
    await waitFor('both', () => host.calls.length >= 2);
    const [message, closed] = host.calls as [Call, Call];
    expect(message.event).toEqual({
      type: 'message',
      timestamp: new Date(Number(id.split('-')[0])).toISOString(),
      site: 'main',
      data: expect.objectContaining({
        kind: 'message',
        room: 'lobby',
        id,
        text: 'hello “you”',
        user: ada.user,
      }),
    });
    expect(closed.event).toMatchObject({ type: 'closed', data: { room: 'lobby' } });
    for (const { headers, body } of host.calls) {
      const timestamp = headers['webhook-timestamp'];
      const signed = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
        .update(`${headers['webhook-id']}.${timestamp}.${body}`)
        .digest('base64');
      expect(headers['webhook-signature']).toBe(`v1,${signed}`);
      expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(10);
      expect(headers['content-type']).toBe('application/json');
    }
  });

  test('is told what was said between its being added and its being taken up', async () => {
    const { env, ada } = await serve();
    const host = new Host();
    await ada.post('before');
    await addHook(env, await host.listen());
    for (let i = 0; i < 250; i++) await ada.post(`${i}`);
    await waitFor('all of it', () => new Set(host.texts).size >= 250);
    expect(host.texts.toSorted()).toEqual(Array.from({ length: 250 }, (_, i) => `${i}`).toSorted());
  });

  test('that flaps is told everything, the same event under the same id, and nothing dies', async () => {
    const { env, ada, samples } = await serve({ webhookTries: 50 });
    const host = new Host();
    const tries = new Map<string, number>();
    host.answer = (res, call) => {
      const n = (tries.get(call.id) ?? 0) + 1;
      tries.set(call.id, n);
      if (n === 1) fails(503)(res, call);
      else if (n === 2) res.destroy();
      else res.end();
    };
    await addHook(env, await host.listen());
    for (let i = 0; i < 30; i++) await ada.post(`${i}`);
    await waitFor('all of it', async () => (await samples()).delivered >= 30);
    expect(new Set(host.texts).size).toBe(30);
    const idsOf = (text: unknown) =>
      new Set(host.calls.filter(({ event }) => event.data['text'] === text).map(({ id }) => id)).size;
    expect(Math.max(...host.texts.map(idsOf))).toBe(1);
    expect(await samples()).toMatchObject({ delivered: 30, dead: 0, trimmed: 0 });
    expect((await samples()).retried).toBe(host.calls.length - 30);
  });

  test.each(REFUSING)('that %s has dead letters, which can be sent again', async (_, answer, reason) => {
    const { env, ada, samples } = await serve();
    const host = new Host();
    host.answer = answer;
    const { id } = await addHook(env, await host.listen());
    await ada.post('one');
    await waitFor('the dead letter', async () => (await samples()).dead === 1);
    const [letter] = (await run(env, 'site', 'webhook', 'dead', id)).answers;
    expect(letter).toMatchObject({ type: 'message', tries: 4, reason });
    expect(host.calls).toHaveLength(4);
    host.answer = fails(500);
    const failed = await run(env, 'site', 'webhook', 'resend', id, letter?.['event'] as string);
    expect([failed.code, failed.complained]).toEqual([1, expect.stringContaining('1 of 1')]);
    host.answer = (res) => void res.end();
    expect((await run(env, 'site', 'webhook', 'resend', id, '--all')).answers).toMatchObject([
      { outcome: 'delivered' },
    ]);
    expect(new Set(host.calls.map((call) => call.id)).size).toBe(1);
    expect((await run(env, 'site', 'webhook', 'dead', id)).answers).toEqual([]);
  });

  test('that is dead or slow harms neither another one nor a post, and is called by a few at once', async () => {
    const { env, ada, samples } = await serve({ webhookTimeoutMs: 5000, webhookTries: 100 });
    const [good, slow] = [new Host(), new Host()];
    slow.answer = () => {};
    await addHook(env, `http://127.0.0.1:${await freePort()}/`);
    await addHook(env, await slow.listen());
    await addHook(env, await good.listen());
    const took: number[] = [];
    for (let i = 0; i < 100; i++) {
      const startedAt = performance.now();
      await ada.post(`${i}`);
      took.push(performance.now() - startedAt);
    }
    await waitFor('the good one', () => good.texts.length >= 100);
    expect(good.texts.length).toBe(100);
    expect(took.toSorted((a, b) => a - b)[50]).toBeLessThan(100);
    expect(slow.calls.length).toBeLessThanOrEqual(4);
    expect([good.mostAtOnce <= 4, slow.mostAtOnce <= 4]).toEqual([true, true]);
    expect((await samples()).dead).toBe(0);
  });

  test('that comes back is told what waited in the journal', async () => {
    const { env, ada, samples } = await serve({ webhookTries: 100, webhookBackoffMs: 50 });
    const at = await freePort();
    const host = new Host();
    await addHook(env, `http://127.0.0.1:${at}/hook`);
    for (let i = 0; i < 150; i++) await ada.post(`${i}`);
    await waitFor('tries in vain', async () => (await samples()).retried >= 10);
    await host.listen(at);
    await waitFor('all of it', () => new Set(host.texts).size >= 150, 20_000);
  });

  test('that was away for longer than the journal reaches back is told so, and it is counted', async () => {
    const { env, ada, samples, config } = await serve({
      webhookConcurrency: 1,
      webhookTries: 1000,
      webhookBackoffMs: 1,
      journalEntries: 100,
    });
    const host = new Host();
    host.answer = fails(503);
    await addHook(env, await host.listen());
    await ada.post('first');
    await waitFor('a try', () => host.calls.length > 0);
    for (let i = 0; i < 600; i++) await ada.post(`${i}`);
    const journal = await redis.client.xlen(`${config.namespace}:{0}:journal`);
    expect(journal).toBeLessThan(400);
    host.answer = (res) => void res.end();
    await waitFor('the last', () => host.texts.includes('599'), 20_000);
    const told = host.calls.map(({ event }) => event);
    expect(told.find(({ type }) => type === 'gap')).toMatchObject({
      data: { kind: 'gap', reason: 'trimmed' },
    });
    const { trimmed, dead } = await samples();
    const heard = new Set(told.filter(({ type }) => type === 'message').map(({ data }) => data['text'])).size;
    expect([trimmed + heard, dead]).toEqual([601, 0]);
  });
});

describe('several processes', () => {
  test('share the events; each is told once', async () => {
    const { env, ada, samples } = await serve({}, 3);
    const host = new Host();
    await addHook(env, await host.listen());
    for (let i = 0; i < 200; i++) await ada.post(`${i}`);
    await waitFor('all of it', () => new Set(host.texts).size >= 200);
    await waitFor('the counts', async () => (await samples()).delivered >= 200);
    expect(host.texts.length).toBe(200);
  });

  test('acknowledge all that was taken, also what was while others were being acknowledged', async () => {
    const { env, ada, config, samples } = await serve({ webhookConcurrency: 8 }, 2);
    const host = new Host();
    host.answer = (res) => void setTimeout(() => res.end(), Math.random() * 5);
    const { id } = await addHook(env, await host.listen());
    await Promise.all(Array.from({ length: 300 }, (_, i) => ada.post(`${i}`)));
    await waitFor('all of it', async () => (await samples()).delivered === 300);
    const groups = () =>
      redis.client.xinfo('GROUPS', `${config.namespace}:{0}:journal`) as Promise<unknown[][]>;
    const pending = async () => {
      const group = (await groups()).find((fields) => fields.includes(`webhook:${id}`));
      return group?.[group.indexOf('pending') + 1];
    };
    await waitFor('nothing to be held by anybody', async () => (await pending()) === 0, 5000);
  });

  test('take over what one that stops leaves, and nothing is lost', async () => {
    const { env, ada, servers } = await serve(
      { webhookTries: 1000, webhookBackoffMs: 2000, leaseMs: 1000 },
      2,
    );
    const host = new Host();
    host.answer = fails(503);
    await addHook(env, await host.listen());
    const survivor = ada.at((servers[1] as RunningServer).url);
    for (let i = 0; i < 50; i++) await survivor.post(`${i}`);
    await waitFor('tries', () => host.calls.length >= 4);
    await servers[0]?.close();
    const before = host.calls.length;
    host.answer = (res) => void res.end();
    await waitFor(
      'all of it',
      () => new Set(host.calls.slice(before).map(({ event }) => event.data['text'])).size >= 50,
      15_000,
    );
  });
});

describe('that events may be missing is told', () => {
  const gapsOf = (host: Host) => host.calls.map(({ event }) => event).filter(({ type }) => type === 'gap');

  test('also where the place in the journal was lost, and what is said from then on', async () => {
    const { env, ada, config } = await serve({ leaseMs: 1000 }, 2);
    const host = new Host();
    const { id } = await addHook(env, await host.listen());
    await ada.post('one');
    await waitFor('one', () => host.texts.includes('one'));
    await redis.client.xgroup('DESTROY', `${config.namespace}:{0}:journal`, `webhook:${id}`);
    await ada.post('lost');
    await waitFor('the gap', () => gapsOf(host).length > 0, 5000);
    await ada.post('two');
    await waitFor('two', () => host.texts.includes('two'));
    expect(gapsOf(host)).toMatchObject([{ data: { reason: 'rollback', upTo: expect.any(String) } }]);
  });

  test('where the journal itself was lost', async () => {
    const { env, ada, config } = await serve({ leaseMs: 1000 });
    const host = new Host();
    await addHook(env, await host.listen());
    await ada.post('one');
    await waitFor('one', () => host.texts.includes('one'));
    await redis.client.del(`${config.namespace}:{0}:journal`);
    await waitFor('the gap', () => gapsOf(host).length > 0, 5000);
    await ada.post('two');
    await waitFor('two', () => host.texts.includes('two'));
  });

  test('by another process, where the one that found it ends before it was', async () => {
    const { env, ada, servers, config } = await serve({
      webhookConcurrency: 1,
      webhookTries: 1000,
      webhookBackoffMs: 1,
      journalEntries: 100,
    });
    const host = new Host();
    await addHook(env, await host.listen());
    host.answer = (res, { event }) =>
      event.type === 'gap' || event.data['text'] === 'first' ? fails(503)(res, {} as Call) : void res.end();
    await ada.post('first');
    await waitFor('a try', () => host.calls.length > 0);
    for (let i = 0; i < 600; i++) await ada.post(`${i}`);
    host.answer = (res, { event }) => (event.type === 'gap' ? fails(503)(res, {} as Call) : void res.end());
    await waitFor('a try of the gap', () => gapsOf(host).length > 0);
    const ended = servers[0] as RunningServer;
    await ended.close();
    const before = host.calls.length;
    host.answer = (res) => void res.end();
    const next = await startTestServer(config);
    closing.push(() => next.close());
    const told = () => host.calls.slice(before).filter(({ event }) => event.type === 'gap');
    await waitFor('the gap', () => told().length > 0, 5000);
    await waitFor('the last', () => host.texts.includes('599'));
    expect(told()).toHaveLength(1);
    expect(await redis.client.keys(`${config.namespace}:*owed-gap*`)).toEqual([]);
  });

  test('where what a process had taken and left is no longer in the journal', async () => {
    const { env, ada, servers, config } = await serve({ webhookTries: 1000, webhookBackoffMs: 1 });
    const host = new Host();
    host.answer = fails(503);
    await addHook(env, await host.listen());
    await ada.post('first');
    await waitFor('a try', () => host.calls.length > 0);
    await servers[0]?.close();
    await redis.client.xtrim(`${config.namespace}:{0}:journal`, 'MAXLEN', 0);
    host.answer = (res) => void res.end();
    const next = await startTestServer(config);
    closing.push(() => next.close());
    await waitFor('the gap', () => gapsOf(host).length > 0, 5000);
    expect(gapsOf(host)).toMatchObject([{ data: { reason: 'trimmed' } }]);
    await ada.at(next.url).post('second');
    await waitFor('second', () => host.texts.includes('second'));
  });
});

test('a webhook that was removed is told nothing more, and leaves nothing behind', async () => {
  const { env, ada, config } = await serve();
  const host = new Host();
  const { id } = await addHook(env, await host.listen());
  await ada.post('one');
  await waitFor('one', () => host.calls.length === 1);
  expect((await run(env, 'site', 'webhook', 'list', 'main')).answers).toMatchObject([
    { id, events: ['message'] },
  ]);
  expect(JSON.stringify((await run(env, 'site', 'webhook', 'list')).answers)).not.toContain('whsec_');
  await run(env, 'site', 'webhook', 'remove', id);
  expect(await redis.client.xinfo('GROUPS', `${config.namespace}:{0}:journal`)).toEqual([]);
  await ada.post('two');
  await looksAgain();
  expect(host.texts).toEqual(['one']);
  expect(await redis.client.xinfo('GROUPS', `${config.namespace}:{0}:journal`)).toEqual([]);
  expect(await redis.client.keys(`${config.namespace}:*${id}*`)).toEqual([]);
});

test.each([
  'ftp://x',
  'file:///etc/passwd',
  'javascript:alert(1)',
  'http://u:p@x/',
  'x',
  'http://',
  'http://x/#f',
])('%j is no receiver', async (url) => {
  const env = { REDIS_URL: `redis://127.0.0.1:${port}`, NAMESPACE: 'none' };
  await expect(addHook(env, url)).rejects.toThrow(/url must be/);
  await expect(addHook(env, 'http://x/', 'everything')).rejects.toThrow(/events/);
  await expect(addHook(env, 'http://x/', 'message', 'nowhere')).rejects.toThrow(/no site/);
});

test('what dies while its webhook is being removed leaves no letter behind', async () => {
  const { env, ada, config } = await serve({ webhookTries: 1, webhookTimeoutMs: 10_000 });
  const host = new Host();
  let called: ServerResponse | undefined;
  host.answer = (res) => {
    called = res;
  };
  const { id } = await addHook(env, await host.listen());
  await ada.post('late');
  const res = await waitFor('the call', () => called);
  await run(env, 'site', 'webhook', 'remove', id);
  res.writeHead(500).end();
  await looksAgain();
  expect(await redis.client.keys(`${config.namespace}:*${id}*`)).toEqual([]);
});

test('a dead letter that has to go for a newer one is counted', async () => {
  const { env, ada, config, samples } = await serve({ webhookTries: 1 });
  const host = new Host();
  host.answer = fails(500);
  const { id } = await addHook(env, await host.listen());
  const key = `${config.namespace}:dead:${id}`;
  const old = JSON.stringify({ id: 'evt_1-0', type: 'message', body: '{}', tries: 1, reason: 'status 500' });
  await Promise.all(Array.from({ length: 999 }, () => redis.client.xadd(key, '*', 'letter', old)));
  await ada.post('the thousandth');
  await waitFor('a dead letter', async () => (await samples()).dead === 1);
  expect((await samples()).dropped).toBe(0);
  await ada.post('one too many');
  await waitFor('another one', async () => (await samples()).dead === 2);
  expect((await samples()).dropped).toBe(1);
  const { answers } = await run(env, 'site', 'webhook', 'dead', id);
  expect(answers).toHaveLength(1000);
  expect(answers.at(-1)?.['body']).toContain('one too many');
});

describe('another secret', () => {
  test('signs beside the former one, so that a receiver changes over without missing a call', async () => {
    const { env, ada } = await serve();
    const host = new Host();
    const { id, secret: first } = await addHook(env, await host.listen());
    await ada.post('one');
    await waitFor('one', () => host.calls.length === 1);
    const { answers } = await run(env, 'site', 'webhook', 'rotate', id);
    const second = answers[0]?.['secret'] as string;
    expect(answers).toMatchObject([{ id, retiring: [{ until: expect.any(Number) }] }]);
    expect(JSON.stringify(answers)).not.toContain(first);
    await looksAgain();
    await ada.post('two');
    await waitFor('two', () => host.calls.length === 2);
    const [one, two] = host.calls as [Call, Call];
    expect([verifies(one, first), verifies(one, second)]).toEqual([true, false]);
    expect([verifies(two, first), verifies(two, second)]).toEqual([true, true]);
    expect((await run(env, 'site', 'webhook', 'rotate', 'nobody')).complained).toContain('no webhook nobody');
  });

  test('at once, where the former one isn’t safe any more', async () => {
    const { env, ada } = await serve();
    const host = new Host();
    const { id, secret: first } = await addHook(env, await host.listen());
    const second = (await run(env, 'site', 'webhook', 'rotate', id, '--now')).answers[0]?.[
      'secret'
    ] as string;
    await looksAgain();
    await ada.post('one');
    await waitFor('one', () => host.calls.length === 1);
    const [call] = host.calls as [Call];
    expect([verifies(call, first), verifies(call, second)]).toEqual([false, true]);
  });

  test('ends the former one a day later', () => {
    const DAY_MS = 24 * 3_600_000;
    const hook = { ...parseHookDraft({ url: 'http://x/', events: ['message'] }), site: MAIN_SITE };
    const old = { ...hook, id: 'x', secret: 'whsec_A', retiring: [], createdAt: 0 };
    const now = 1_700_000_000_000;
    const twice = rotated(rotated(old, 'whsec_B', now, false), 'whsec_C', now + 1000, false);
    expect(secretsOf(twice, now + DAY_MS - 1)).toEqual(['whsec_C', 'whsec_B', 'whsec_A']);
    expect(secretsOf(twice, now + DAY_MS)).toEqual(['whsec_C', 'whsec_B']);
    expect(secretsOf(twice, now + DAY_MS + 1000)).toEqual(['whsec_C']);
    expect(rotated(twice, 'whsec_D', now + DAY_MS, false).retiring.map(({ secret }) => secret)).toEqual([
      'whsec_C',
      'whsec_B',
    ]);
  });
});

/** Waits until a process has looked again which webhooks there are, and as what; the second look began after this call. */
async function looksAgain(): Promise<void> {
  const looks = async () =>
    Number(/cmdstat_hgetall:calls=(\d+)/.exec(await redis.client.info('commandstats'))?.[1] ?? 0);
  const before = await looks();
  await waitFor('two looks', async () => (await looks()) >= before + 2);
}

/** Whether the scheme's own library takes a call for genuine. */
function verifies({ headers, body }: Call, secret: string): boolean {
  try {
    new Webhook(secret).verify(body, headers as Record<string, string>);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

test('a stop doesn’t wait for a connection that never comes', async () => {
  const keys = new Keys(testConfig(redis).namespace);
  const book = new HookBook(redis.client, keys);
  await book.put(book.make(MAIN_SITE, { url: 'http://127.0.0.1:1/', events: ['message'] }));
  let isAsked = false;
  const open = () => {
    isAsked = true;
    return new Promise<never>(() => {});
  };
  const log = pino({ level: 'silent' });
  const webhooks = new Webhooks({ commands: redis.client, open, keys, keysOf: () => keys, log }, DEFAULTS);
  webhooks.start();
  await waitFor('the question', () => isAsked);
  const at = performance.now();
  await webhooks.stop();
  expect(performance.now() - at).toBeLessThan(1000);
});

test('a letter that was kept isn’t kept again, where it can’t be asked at once whether its webhook still is', async () => {
  const keys = new Keys(testConfig(redis).namespace);
  const book = new HookBook(redis.client, keys);
  const hook = book.make(MAIN_SITE, { url: 'http://127.0.0.1:1/', events: ['message'] });
  const group = new JournalGroup(redis.client, keys, hook.id, 'consumer');
  await group.restore();
  const dead = new DeadLetters(redis.client, keys);
  let asked = 0;
  const isKept = async () => {
    if (asked++ === 0) throw new Error('Connection is closed.');
    return true;
  };
  const counts = { delivered: 0, retried: 0, dead: 0, dropped: 0, trimmed: 0 };
  const options = { ...DEFAULTS, webhookTries: 1 };
  const receiver = new Receiver(hook, isKept, group, dead, counts, pino({ level: 'silent' }), options);
  receiver.start();
  await waitFor('the word of the lost place', () => counts.dead === 1);
  await receiver.stop();
  expect(asked).toBeGreaterThan(1);
  expect(await dead.list(hook.id)).toHaveLength(1);
});

test('without webhooks nothing is opened for them', async () => {
  const { config, ada } = await serve();
  await ada.post('hi');
  const clients = String(await redis.client.client('LIST'));
  expect(config.namespace).toBeTruthy();
  expect(clients).not.toContain('throughline-webhooks');
});
