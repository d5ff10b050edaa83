import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signClaims } from '../src/chat/sign-claims.ts';
import type { CommandName } from '../src/cli/commands.ts';
import { runCommand } from '../src/cli/run-command.ts';
import type { Config } from '../src/config.ts';
import type { RunningServer } from '../src/server.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let port: number;
const running: RunningServer[] = [];
const folders: string[] = [];
beforeAll(async () => {
  port = await freePort();
  redis = await startTestRedis(port);
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

async function folderOfTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tl-'));
  folders.push(folder);
  return folder;
}

/** A command under way, or done. */
interface Run {
  readonly said: string[];
  readonly complained: string[];
  readonly done: Promise<number>;
  interrupt(): void;
}

function begin(env: Record<string, string>, name: CommandName, ...args: string[]): Run {
  const [said, complained]: string[][] = [[], []];
  const ending = new AbortController();
  const io = {
    env,
    say: (line: string) => void (said as string[]).push(line),
    complain: (line: string) => void (complained as string[]).push(line),
    signal: ending.signal,
  };
  const done = runCommand(io, name, args);
  return {
    said: said as string[],
    complained: complained as string[],
    done,
    interrupt: () => ending.abort(),
  };
}

/** Runs a command to its end, with `--json`: what it said. */
async function run(env: Record<string, string>, name: CommandName, ...args: string[]) {
  const { said, complained, done } = begin(env, name, ...args, '--json');
  const code = await done;
  if (code !== 0) throw new Error(`${name}: ${complained.join('\n')}`);
  return said.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function failure(env: Record<string, string>, name: CommandName, ...args: string[]): Promise<string> {
  const { complained, done } = begin(env, name, ...args);
  expect(await done).toBe(1);
  return complained.join('\n');
}

async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, overrides);
  const server = await startTestServer(config);
  running.push(server);
  const env = {
    REDIS_URL: `redis://127.0.0.1:${port}`,
    NAMESPACE: config.namespace,
    THROUGHLINE_URL: server.url,
  };
  return { config, server, url: server.url, env };
}

describe('site', () => {
  test('adds, changes and lists sites, and removes them, which the service knows at once or soon', async () => {
    const { env, url } = await serve();
    await run(env, 'site', 'add', 'shop', '--title', 'The shop', '--origin', 'https://Shop.example.org');
    const added = {
      site: 'shop',
      title: 'The shop',
      origins: ['https://shop.example.org'],
      guests: 'allowed',
    };
    expect(await run(env, 'site', 'list')).toMatchObject([{ site: 'main' }, added]);
    await Person.logIn(url, 'Ada', 'shop');
    await run(env, 'site', 'add', 'shop', '--guests', 'refused');
    expect(await run(env, 'site', 'list')).toMatchObject([{}, { ...added, guests: 'refused' }]);
    await run(env, 'site', 'remove', 'shop');
    expect(await run(env, 'site', 'list')).toHaveLength(1);
    const status = async () => (await Person.nobody(url, 'shop').get('/api/session')).status;
    await waitFor('the service to know', async () => (await status()) === 404, 3000);
  });

  test('changed by several commands at once is changed by each', async () => {
    const { env } = await serve();
    await run(env, 'site', 'add', 'shop');
    await Promise.all([
      run(env, 'site', 'key', 'shop'),
      run(env, 'site', 'key', 'shop'),
      run(env, 'site', 'add', 'shop', '--guests', 'refused'),
      run(env, 'site', 'add', 'shop', '--title', 'The shop'),
    ]);
    const [, shop] = await run(env, 'site', 'list');
    expect(shop).toMatchObject({ guests: 'refused', title: 'The shop', claimKeys: [{}, {}] });
  });

  test('that is removed ends what is read there, by known users and by keys as by guests', async () => {
    const { env, url } = await serve();
    await run(env, 'site', 'add', 'shop');
    const [key] = await run(env, 'key', 'add', 'shop');
    const [claimKey] = await run(env, 'site', 'key', 'shop');
    const iat = Math.floor(Date.now() / 1000);
    const claims = signClaims(
      { site: 'shop', id: '7', name: 'Zoe', role: 'member', rooms: ['lobby'], iat, exp: iat + 60 },
      claimKey?.['secret'] as string,
    );
    const ends = async (who: Promise<Response>) => {
      const res = await who;
      expect(res.status).toBe(200);
      return res.text();
    };
    const zoe = await Person.byClaims(url, claims, 'shop');
    const guest = await Person.logIn(url, 'Ada', 'shop');
    const ended = Promise.all([
      ends(zoe.get('/api/stream?rooms=lobby')),
      ends(guest.get('/api/stream?rooms=lobby')),
      ends(
        fetch(`${url}/api/stream?rooms=lobby`, {
          headers: { Authorization: `Bearer ${key?.['secret']}` },
        }),
      ),
    ]);
    const elsewhere = begin(env, 'tail', 'lobby', '--name', 'Eve');
    await zoe.post('hello');
    await run(env, 'site', 'remove', 'shop');
    const removedAt = performance.now();
    for (const told of await ended) expect(told).toMatch(/event: bye/);
    expect(performance.now() - removedAt).toBeLessThan(2500);
    expect(elsewhere.complained).toEqual([]);
    elsewhere.interrupt();
    await elsewhere.done;
  });

  test('makes keys to sign claims with, two at most, and shows each once', async () => {
    const { env } = await serve();
    const [first] = await run(env, 'site', 'key', 'main');
    expect(first?.['secret']).toMatch(/^clk_[A-Za-z0-9_-]{43}$/);
    await run(env, 'site', 'key', 'main');
    expect(await failure(env, 'site', 'key', 'main')).toMatch(/has two keys/);
    const listed = JSON.stringify(await run(env, 'site', 'list'));
    expect(listed).toContain(first?.['id']);
    expect(listed).not.toContain('clk_');
    await run(env, 'site', 'key', 'main', '--remove', first?.['id'] as string);
    await run(env, 'site', 'key', 'main');
  });

  test('takes JSON Web Tokens by a public key, as long as it is told to', async () => {
    const { env, url } = await serve();
    await run(env, 'site', 'add', 'shop', '--guests', 'refused');
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const file = join(await folderOfTest(), 'key.pem');
    await writeFile(file, await exportSPKI(publicKey));
    const jwt = ['--public-key', file, '--issuer', 'https://id.example.org'];
    const [shop] = await run(env, 'site', 'jwt', 'shop', ...jwt);
    expect(shop).toMatchObject({ guests: 'refused', jwt: { issuer: 'https://id.example.org' } });
    const token = (issuer: string) =>
      new SignJWT({ site: 'shop', name: 'Zoe', role: 'member', rooms: ['*'] })
        .setProtectedHeader({ alg: 'ES256' })
        .setSubject('7')
        .setIssuer(issuer)
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey);
    const right = await token('https://id.example.org');
    expect((await Person.byClaims(url, right, 'shop')).user).toMatchObject({ id: '7', name: 'Zoe' });
    await expect(Person.byClaims(url, await token('https://evil.example'), 'shop')).rejects.toThrow('403');
    const listed = begin(env, 'site', 'list');
    expect([await listed.done, listed.said[1]]).toEqual([0, expect.stringContaining('jwt=public key')]);
    await run(env, 'site', 'jwt', 'shop', '--none');
    const refusal = async () => {
      const res = await Person.nobody(url, 'shop').send('/api/session', { claims: right });
      return ((await res.json()) as { error?: { code: string } }).error?.code;
    };
    await waitFor('the service to know', async () => (await refusal()) === 'claims_forged', 3000);
    await run(env, 'site', 'jwt', 'shop', '--jwks-url', 'https://id.example.org/keys');
    const [, changed] = await run(env, 'site', 'list');
    expect(changed?.['jwt']).toEqual({ jwksUrl: 'https://id.example.org/keys' });
  });

  test('given up by a signal before Redis was asked says nothing and ends with 1', async () => {
    const { env } = await serve();
    const list = begin(env, 'site', 'list');
    list.interrupt();
    expect([await list.done, list.said, list.complained]).toEqual([1, [], []]);
  });

  test.each([
    [['jwt', 'nowhere', '--none'], /no site nowhere/],
    [['jwt', 'main'], /throughline site jwt/],
    [['jwt', 'main', '--none', '--issuer', 'x'], /throughline site jwt/],
    [['jwt', 'main', '--issuer', 'x'], /either publicKey or jwksUrl/],
    [['jwt', 'main', '--jwks-url', 'http://id.example.org/'], /jwksUrl must be an https/],
    [['jwt', 'main', '--public-key', '/nowhere.pem'], /--public-key can’t be read/],
    [['jwt', 'main', '--public-key', import.meta.filename], /publicKey must be a public key in PEM/],
    [['add', 'shop', '--jwks-url', 'https://id.example.org/'], /site add takes no --jwks-url/],
    [['jwt', 'main', '--none', '--title', 'x'], /site jwt takes no --title/],
    [['add', 'Shop'], /site must be/],
    [['add', 'shop', '--guests', 'some'], /guests must be/],
    [['add', 'shop', '--colour', 'red'], /--colour/],
    [['remove', 'nowhere'], /no site nowhere/],
    [['add'], /throughline site add/],
    [['frobnicate', 'x'], /throughline site add/],
    [['list', '--redis-url', 'http://x'], /REDIS_URL|redis-url/],
    [['list', '--redis-url', 'redis://127.0.0.1:1'], /Redis/],
  ])('%j is refused in a sentence', async (args, sentence) => {
    const { env } = await serve();
    expect(await failure(env, 'site', ...args)).toMatch(sentence);
  });
});

describe('key', () => {
  test('makes keys, lists them without secrets, and revokes them, which ends what reads with them', async () => {
    const { env } = await serve();
    const [key] = await run(env, 'key', 'add', 'main', '--name', 'Orders', '--scopes', 'post,history');
    const { id, secret } = key as { id: string; secret: string };
    expect(secret).toMatch(/^tlk_/);
    expect(await run(env, 'key', 'list')).toEqual([
      { id, site: 'main', name: 'Orders', scopes: ['post', 'history'], createdAt: expect.any(Number) },
    ]);
    const tail = begin(env, 'tail', 'lobby', '--key', secret, '--last', '10', '--json');
    await run(env, 'post', 'lobby', 'one', '--key', secret);
    await waitFor('the message', () => tail.said.length > 0);
    await run(env, 'key', 'revoke', id);
    expect(await tail.done).toBe(1);
    expect(tail.complained.join()).toMatch(/api_key_unknown/);
    expect(await failure(env, 'key', 'revoke', id)).toMatch(/no key/);
    expect(await failure(env, 'key', 'add', 'nowhere')).toMatch(/no site nowhere/);
    expect(await failure(env, 'key', 'add', 'main', '--scopes', 'all')).toMatch(/scopes/);
  });
});

describe('tail and post', () => {
  test('say and hear a room, as a guest or by a key, with what was said before', async () => {
    const { env, url } = await serve();
    const [key] = await run(env, 'key', 'add', 'main', '--name', 'Orders');
    const secret = key?.['secret'] as string;
    const ada = await Person.logIn(url, 'Ada');
    await ada.post('before');
    const asGuest = begin(env, 'tail', 'lobby', '--name', 'Eve', '--last', '5');
    const byKey = begin(env, 'tail', 'lobby', '--key', secret, '--json', '--last', '1');
    await waitFor('what was before', () => asGuest.said.length === 1 && byKey.said.length === 1);
    const [posted] = await run(env, 'post', 'lobby', 'two\nlines', '--key', secret, '--as', 'system');
    await run(env, 'post', 'lobby', 'third', '--name', 'Bob');
    for (const { said } of [asGuest, byKey]) await waitFor('both', () => said.length >= 3);
    expect(asGuest.said).toMatchObject([
      expect.stringMatching(/^\d\d:\d\d:\d\d Ada: before$/),
      expect.stringMatching(/^\S+ System: two\n {4}lines$/),
      expect.stringMatching(/^\S+ Bob: third$/),
    ]);
    expect(byKey.said.map((line) => JSON.parse(line))).toMatchObject([
      { text: 'before', user: { guest: true } },
      { text: 'two\nlines', id: posted?.['id'], user: { id: 'system', bot: true } },
      { text: 'third', user: { name: 'Bob', guest: true } },
    ]);
    for (const tail of [asGuest, byKey]) {
      tail.interrupt();
      expect([await tail.done, tail.complained]).toEqual([0, []]);
    }
    await Person.logIn(url, 'Eve');
  });

  test('go on after a restart, having missed nothing', async () => {
    const { env, config, server } = await serve();
    const tail = begin(env, 'tail', 'lobby', '--name', 'Eve', '--last', '5', '--json');
    await run(env, 'post', 'lobby', 'one', '--name', 'Bob');
    await waitFor('one', () => tail.said.length === 1);
    await server.close();
    const posting = begin(env, 'post', 'lobby', 'two', '--name', 'Bob');
    expect(await posting.done).toBe(1);
    expect(posting.complained.join()).toMatch(/can’t be reached/);
    running.push(await startTestServer({ ...config, port: Number(new URL(server.url).port) }));
    await run(env, 'post', 'lobby', 'three', '--name', 'Bob');
    const texts = () =>
      tail.said
        .map((line) => (JSON.parse(line) as { text?: string }).text)
        .filter((text) => text !== undefined);
    await waitFor('three', () => texts().length === 2);
    expect(texts()).toEqual(['one', 'three']);
    tail.interrupt();
    await tail.done;
  });

  test('let nobody’s text steer the terminal, and keep it whole in JSON', async () => {
    const { env, url } = await serve();
    const hostile = '\u009b2J\u202ereversed';
    await (await Person.logIn(url, 'Mallory')).post(hostile);
    const [words, json] = [[], ['--json']].map((more) =>
      begin(env, 'tail', 'lobby', '--name', `Eve ${more.length}`, '--last', '1', ...more),
    ) as [Run, Run];
    await waitFor('both', () => words.said.length === 1 && json.said.length === 1);
    expect(words.said[0]).toMatch(/Mallory: \\u009b2J\\u202ereversed$/);
    expect(json.said[0]).not.toContain('\u009b');
    expect(JSON.parse(json.said[0] as string)).toMatchObject({ text: hostile });
  });

  test('take a key from the environment, and a text that looks like a flag', async () => {
    const { env, url } = await serve();
    const [key] = await run(env, 'key', 'add', 'main');
    const withKey = { ...env, THROUGHLINE_API_KEY: key?.['secret'] as string };
    const said = begin(withKey, 'post', 'lobby', '--', '--help');
    expect(await said.done).toBe(0);
    const { events } = await (await Person.logIn(url)).history();
    expect(events.at(-1)).toMatchObject({ text: '--help', user: { bot: true } });
    const refused = begin({ ...env, THROUGHLINE_API_KEY: 'tlk_no' }, 'post', 'lobby', 'x', '--json');
    expect(await refused.done).toBe(1);
    expect(JSON.parse(refused.complained[0] as string)).toMatchObject({ error: { code: 'api_key_unknown' } });
  });

  test('say what the service refuses', async () => {
    const { env } = await serve();
    expect(await failure(env, 'post', 'nowhere', 'x', '--name', 'Bob')).toMatch(/room_not_found/);
    expect(await failure(env, 'tail', 'nowhere', '--name', 'Bob')).toMatch(/room_not_found/);
    expect(await failure(env, 'post', 'lobby', 'x', '--key', 'tlk_no')).toMatch(/api_key_unknown/);
    expect(await failure(env, 'post', 'lobby', 'x')).toMatch(/^throughline post/);
    const json = begin(env, 'post', 'nowhere', 'x', '--name', 'Bob', '--json');
    expect(await json.done).toBe(1);
    expect(JSON.parse(json.complained.join())).toMatchObject({ error: { message: expect.any(String) } });
  });
});

describe('doctor', () => {
  test('that is interrupted has not found everything good', async () => {
    const { env, url } = await serve();
    const doctor = begin(env, 'doctor', url);
    await waitFor('a finding', () => doctor.said.length > 0);
    doctor.interrupt();
    expect(await doctor.done).toBe(1);
  });

  test('finds nothing wrong where nothing is', { timeout: 20_000 }, async () => {
    const { env, url } = await serve();
    const findings = await run(env, 'doctor', url);
    expect(findings.map(({ probe, isGood }) => [probe, isGood])).toEqual([
      ['up', true],
      ['ready', true],
      ['route', true],
      ['stream', true],
      ['long-poll', true],
    ]);
  });

  test('finds a proxy that holds streams back, and a service that isn’t one', {
    timeout: 40_000,
  }, async () => {
    const { env, url } = await serve();
    const holding = createServer(async (req, res) => {
      const answer = await fetch(url + req.url, { headers: { Accept: req.headers.accept ?? '*/*' } });
      const body = Buffer.from(await answer.arrayBuffer());
      for (const name of ['content-type', 'throughline']) {
        const value = answer.headers.get(name);
        if (value !== null) res.setHeader(name, value);
      }
      res.writeHead(answer.status).end(body);
    }).listen(0, '127.0.0.1');
    const other = createServer((_req, res) => void res.end('hello')).listen(0, '127.0.0.1');
    await waitFor('them to listen', () => holding.listening && other.listening);
    const at = (server: typeof holding) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const held = begin(env, 'doctor', at(holding));
    expect(await held.done).toBe(1);
    expect(held.said.filter((line) => line.startsWith('BAD'))).toEqual([
      expect.stringMatching(/stream +held back/),
    ]);
    const strange = begin(env, 'doctor', at(other));
    expect(await strange.done).toBe(1);
    expect(strange.said.join('\n')).toMatch(/BAD +route +answered 200, and not as Throughline does/);
    expect(await failure(env, 'doctor', 'http://127.0.0.1:1')).toMatch(/wrong at/);
    for (const server of [holding, other]) server.close().closeAllConnections();
  });
});

test('without REDIS_URL they work on the private Redis, whether a service runs or not', {
  timeout: 30_000,
}, async () => {
  const folder = await folderOfTest();
  const env = { DATA_DIR: folder };
  await run(env, 'site', 'add', 'shop');
  const config = testConfig(redis, { redisUrl: undefined, dataDir: folder, namespace: 'tl' });
  const server = await startTestServer(config);
  await Person.logIn(server.url, 'Ada', 'shop');
  await run(env, 'site', 'add', 'club');
  await Person.logIn(server.url, 'Ada', 'club');
  await server.close();
  expect(await run(env, 'site', 'list')).toMatchObject([
    { site: 'club' },
    { site: 'main' },
    { site: 'shop' },
  ]);
});

test('the README shows every command as it is called', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const { USAGES } = await import('../src/cli/commands.ts');
  const usages = Object.values(USAGES).flatMap((text) => text.split('\n'));
  expect(usages.filter((usage) => !readme.includes(usage))).toEqual([]);
});
