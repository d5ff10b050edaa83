import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newSite, parseSiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { connect } from '../src/log/connections.ts';
import { Keys } from '../src/log/keys.ts';
import { nameOf, parseRedisAddress } from '../src/log/redis-address.ts';
import { readRedisTls } from '../src/log/redis-tls.ts';
import { shardIndexOf, tagsOf } from '../src/log/shards.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { type Carrier, carriers } from './support/carriers.ts';
import { TestCluster } from './support/redis-cluster.ts';
import { Certificates, type Guard } from './support/redis-guard.ts';
import { RedisNode, SERVER_LINES } from './support/redis-nodes.ts';
import { TestSentinels } from './support/redis-sentinels.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { Listener } from './support/talk.ts';
import { waitFor } from './support/wait-for.ts';

const [stream] = carriers as [Carrier];
const SILENT = pino({ level: 'silent' });
/** Of the servers among themselves, and of the test. */
const ADMIN = 'adm1n p@ss';
/** Of the service's user, and of the Sentinels. */
const PASSWORD = 's/rv+r:p?ss@#%1';
const SENTINEL_PASSWORD = 's&nt=n+l p@ss/#2';
const WRONG = 'wr0ng';
const SECRETS = [PASSWORD, SENTINEL_PASSWORD, WRONG].flatMap((text) => [text, encodeURIComponent(text)]);

/** A server with a user for the service that the README tells, over TLS where there are certificates. */
function serverGuard(certificates?: Certificates): Guard {
  return {
    lines: [
      ...(certificates?.lines ?? []),
      `requirepass "${ADMIN}"`,
      `masterauth "${ADMIN}"`,
      `user chat on ">${PASSWORD}" resetkeys ~t* resetchannels +@all -@dangerous +info`,
    ],
    options: { password: ADMIN, ...(certificates && { tls: certificates.tls }) },
  };
}

function sentinelGuard(certificates?: Certificates): Guard {
  return {
    lines: [
      ...(certificates?.lines ?? []),
      `requirepass "${SENTINEL_PASSWORD}"`,
      `sentinel sentinel-pass "${SENTINEL_PASSWORD}"`,
    ],
    options: { password: SENTINEL_PASSWORD, ...(certificates && { tls: certificates.tls }) },
  };
}

interface LogIn {
  password?: string;
  sentinelPassword?: string;
}

/** The URL of Sentinels or of a Cluster with what lets the service in. */
function withLogIn(url: string, { password = PASSWORD, sentinelPassword = SENTINEL_PASSWORD }: LogIn = {}) {
  const query = url.includes('sentinel') ? `?sentinelPassword=${encodeURIComponent(sentinelPassword)}` : '';
  return url.replace('://', `://chat:${encodeURIComponent(password)}@`) + query;
}

const overTls = (url: string) => url.replace('redis+', 'rediss+');

const tlsPaths = (certificates: Certificates) => ({
  redisCa: certificates.path('ca'),
  redisCert: certificates.path('cert'),
  redisKey: certificates.path('key'),
});

const running: RunningServer[] = [];
const listeners: Listener[] = [];
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.stop()));
  await Promise.all(running.splice(0).map((server) => server.close()));
});

async function serve(path: string, overrides: Partial<Config> = {}) {
  const config = testConfig({ path }, overrides);
  const server = await startTestServer(config);
  running.push(server);
  return { config, url: server.url };
}

async function listen(person: Person): Promise<Listener> {
  const { cursor } = await person.history();
  const listener = new Listener(stream, [person], ['lobby'], cursor);
  listeners.push(listener);
  return listener;
}

async function expectTold(listener: Listener, texts: readonly string[]): Promise<void> {
  await waitFor(`all of ${texts}`, () => listener.texts.length >= texts.length);
  expect(listener.texts).toEqual(texts);
}

async function expectRefusal(path: string, sentence: RegExp, overrides: Partial<Config> = {}): Promise<void> {
  const refusal = await serve(path, overrides).then(
    () => undefined,
    (error: Error) => error,
  );
  expect(refusal).toMatchObject({ name: 'StartError', message: expect.stringMatching(sentence) });
  for (const secret of SECRETS) expect(refusal?.message).not.toContain(secret);
}

test('one server that wants a password over TLS is used, and nothing is without the authority', async () => {
  const certificates = await Certificates.make();
  const redis = await RedisNode.start(SERVER_LINES, { guard: serverGuard(certificates) });
  try {
    const address = withLogIn(`rediss://${redis.endpoint}/`);
    const { redisCa, ...paths } = tlsPaths(certificates);
    await expectRefusal(address, /certificate is by nobody that is trusted here .*REDIS_CA/, paths);
    const { url } = await serve(address, { redisCa, ...paths });
    const person = await Person.logIn(url);
    const listener = await listen(person);
    await person.post('by one alone');
    await expectTold(listener, ['by one alone']);
  } finally {
    await redis.remove();
    await certificates.remove();
  }
});

describe.each(['without TLS', 'over TLS'])('Sentinels and servers that want a password each, %s', (how) => {
  let redis: TestSentinels;
  let certificates: Certificates | undefined;
  let paths: Partial<Config> = {};
  const address = (logIn?: LogIn) => {
    const url = withLogIn(redis.url, logIn);
    return certificates ? overTls(url) : url;
  };
  beforeAll(async () => {
    certificates = how === 'over TLS' ? await Certificates.make() : undefined;
    paths = certificates ? tlsPaths(certificates) : {};
    redis = await TestSentinels.start({
      replicas: 1,
      sentinels: 2,
      guards: { server: serverGuard(certificates), sentinel: sentinelGuard(certificates) },
    });
  });
  afterAll(async () => {
    await redis?.stop();
    await certificates?.remove();
  });

  test('what is accepted is told, also after the Sentinels have changed masters', async () => {
    const { url } = await serve(address(), paths);
    const person = await Person.logIn(url);
    const listener = await listen(person);
    await person.post('before');
    await expectTold(listener, ['before']);
    await redis.untilWhole();
    const before = await redis.master();
    await redis.failOver();
    await waitFor('another master', async () => (await redis.master()) !== before);
    const clients = async () => (await before.client.client('LIST')) as string;
    await waitFor('the service has moved', async () => !/ name=throughline-/.test(await clients()));
    const post = { text: 'after', clientId: randomUUID() };
    await waitFor('it goes on', async () => (await person.send('/api/rooms/lobby/messages', post)).ok);
    await expectTold(listener, ['before', 'after']);
  });

  test('a wrong password stops the start with a sentence that says whose it is', async () => {
    await expectRefusal(
      address({ password: WRONG }),
      /its master: it refused the log-in: user or password in REDIS_URL is wrong/,
      paths,
    );
    await expectRefusal(
      address({ sentinelPassword: WRONG }),
      /: it refused the log-in: sentinelUsername or sentinelPassword in REDIS_URL is wrong/,
      paths,
    );
    await expectRefusal(address({ sentinelPassword: '' }), /REDIS_URL has no sentinelPassword/, paths);
    // The next Sentinel is asked instead of one that is away, which hides nothing.
    await expectRefusal(
      address({ password: WRONG }).replace('@127', '@127.0.0.1:1,127'),
      /its master: it refused the log-in/,
      paths,
    );
  });

  test('a password that is changed under a running service is logged as a refused log-in, without it', async () => {
    const told: object[] = [];
    const log = { info: () => {}, warn: (facts: object) => told.push(facts) } as never;
    const tls = readRedisTls({ redisCa: undefined, redisCert: undefined, redisKey: undefined, ...paths });
    const connections = await connect(parseRedisAddress(address(), tls), log);
    const { client } = await redis.master();
    try {
      await client.call('ACL', 'SETUSER', 'chat', 'resetpass', '>another');
      await client.call('CLIENT', 'KILL', 'USER', 'chat');
      await waitFor('the refused log-in', () => /WRONGPASS/.test(JSON.stringify(told)));
      for (const secret of SECRETS) expect(JSON.stringify(told)).not.toContain(secret);
      await client.call('ACL', 'SETUSER', 'chat', `>${PASSWORD}`);
      await waitFor('it goes on', () =>
        connections.commands.get('t').then(
          () => true,
          () => false,
        ),
      );
    } finally {
      connections.close();
    }
  });

  test.runIf(how === 'over TLS')(
    'without TLS, the authority or the certificate the start says so',
    async () => {
      const { redisCa } = paths;
      await expectRefusal(withLogIn(redis.url), /it may want TLS \(rediss in REDIS_URL\)/);
      await expectRefusal(address(), /certificate is by nobody that is trusted here .*REDIS_CA/);
      await expectRefusal(address(), /want.* a certificate of its clients.*REDIS_CERT/, { redisCa });
    },
  );
});

describe('a Cluster that wants a password over TLS, with a certificate for its host name only', () => {
  const SHARDS = 3;
  let redis: TestCluster;
  let certificates: Certificates;
  const address = (logIn?: LogIn) =>
    overTls(withLogIn(redis.url.replaceAll('127.0.0.1', 'localhost'), logIn));
  beforeAll(async () => {
    certificates = await Certificates.make('localhost');
    const { lines, options } = serverGuard(certificates);
    const names = ['cluster-announce-hostname localhost', 'cluster-preferred-endpoint-type hostname'];
    redis = await TestCluster.start({
      replicas: 0,
      guard: { lines: [...lines, 'tls-cluster yes', ...names], options },
    });
  });
  afterAll(async () => {
    await redis?.stop();
    await certificates?.remove();
  });

  test('what is accepted in rooms of different shards is told in each', async () => {
    const paths = tlsPaths(certificates);
    const { config, url } = await serve(address(), { shards: SHARDS, ...paths });
    const connections = await connect(parseRedisAddress(address(), readRedisTls(paths)), SILENT);
    const book = new SiteBook(connections.commands, new Keys(config.namespace));
    const names = Array.from({ length: 100 }, (_, i) => parseSiteName(`site-${i}`));
    for (const [shard] of tagsOf(SHARDS).entries()) {
      const site = names.find((name) => shardIndexOf(name, SHARDS) === shard) as (typeof names)[0];
      await book.put(newSite(site));
      const person = await Person.logIn(url, 'Ada', site);
      const listener = await listen(person);
      await person.post(`at ${site}`);
      await expectTold(listener, [`at ${site}`]);
    }
    connections.close();
  });

  test('a wrong password, a missing authority or another host name stops the start with a sentence', async () => {
    const paths = tlsPaths(certificates);
    await expectRefusal(
      address({ password: WRONG }),
      /localhost:\d+: it refused the log-in: user or pass/,
      paths,
    );
    await expectRefusal(address(), /certificate is by nobody that is trusted here .*REDIS_CA/);
    const byAddress = address().replaceAll('localhost', '127.0.0.1');
    await expectRefusal(byAddress, /certificate is another host’s/, paths);
  });
});

test.each([
  [{ redisCa: '/nowhere/ca.pem' }, /^REDIS_CA can’t be read: /],
  [{ redisCa: import.meta.filename }, /^REDIS_CA holds no certificate/],
  [
    { redisCert: import.meta.filename, redisKey: import.meta.filename },
    /REDIS_CERT or REDIS_KEY can’t be used/,
  ],
])('TLS files that are none stop the start with a sentence: %j', async (paths, sentence) => {
  await expectRefusal('rediss://127.0.0.1:1', sentence, paths);
});

test.each([
  [`redis://ada:${WRONG}@host:1/2`, 'redis://…@host:1/2'],
  [`redis://:a@${WRONG}@host`, 'redis://…@host'],
  [`rediss://host?password=${WRONG}`, 'rediss://host'],
  [`redis+sentinel://ada:${WRONG}@a,b:2/m?sentinelPassword=${WRONG}`, 'redis+sentinel://a:26379,b:2/m'],
  [`rediss+cluster://:${WRONG}@a,[::1]:2`, 'rediss+cluster://a:6379,[::1]:2'],
])('an address is told without what lets one in: %s', (url, told) => {
  expect(nameOf(parseRedisAddress(url))).toBe(told);
});
