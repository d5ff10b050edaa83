import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findProgram, type RunningProxy, startProgram } from './proxies/programs.ts';
import { carriers } from './support/carriers.ts';
import { clientOf } from './support/client.ts';
import { clientCarriers } from './support/client-carriers.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person } from './support/service.ts';
import { ServiceProcess } from './support/service-process.ts';
import { Traffic } from './support/traffic.ts';
import { waitFor } from './support/wait-for.ts';

const PROCESSES = 4;
/** In CI it has to be there. */
const isMissing = findProgram('haproxy') === undefined && process.env['CI'] !== 'true';

describe.skipIf(isMissing)('four processes over one Redis, behind an HAProxy that chooses at random', () => {
  let redis: TestRedis;
  let redisPort: number;
  let proxy: RunningProxy;
  let url: string;
  let services: ServiceProcess[] = [];

  const launch = (port = 0) =>
    new ServiceProcess([], {
      PORT: `${port}`,
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      // Where accepted posts have a line.
      LOG_LEVEL: 'debug',
      CONFIRM_MS: '3000',
    });
  const portOf = async (service: ServiceProcess) => new URL(await service.url()).port;
  /** How many requests for a path a process has answered. */
  const asked = (service: ServiceProcess, path: string) =>
    service.out.split('\n').filter((line) => line.includes(`"path":"${path}"`)).length;

  beforeAll(async () => {
    redisPort = await freePort();
    redis = await startTestRedis(redisPort);
    services = Array.from({ length: PROCESSES }, () => launch());
    const [one, two, three, four] = (await Promise.all(services.map(portOf))) as [
      string,
      string,
      string,
      string,
    ];
    const program = {
      program: 'haproxy',
      configuration: 'haproxy-four.cfg',
      args: ['-db', '-f', '{configuration}'],
    } as const;
    proxy = await startProgram(program, Number(one), { two, three, four });
    url = `http://127.0.0.1:${proxy.port}`;
  }, 90_000);
  afterAll(async () => {
    await proxy?.stop();
    await Promise.all(services.map((service) => service.kill('SIGKILL')));
    await redis?.stop();
  });

  test('sessions hold on every process, and one logged out at any is nobody at each', async () => {
    const person = await Person.logIn(url);
    for (let i = 0; i < 10 * PROCESSES; i++) expect((await person.get('/api/rooms')).status).toBe(200);
    for (const service of services) expect(asked(service, '/api/rooms')).toBeGreaterThan(0);
    expect((await person.send('/api/session/end', {})).status).toBe(204);
    await waitFor('the end of the session everywhere', async () => {
      const urls = await Promise.all(services.map((service) => service.url()));
      const answers = await Promise.all(urls.map((each) => person.at(each).get('/api/rooms')));
      return answers.every(({ status }) => status === 401);
    });
  });

  test('a confirmation reaches the stream on whichever process it is; without one a stream ends', async () => {
    const person = await Person.logIn(url);
    const abort = new AbortController();
    const open = await Promise.all(
      Array.from({ length: 2 * PROCESSES }, () =>
        person.get('/api/stream?rooms=lobby&confirm=1&heartbeat=1', { signal: abort.signal }),
      ),
    );
    const texts = open.map(() => '');
    let hasEnded = false;
    const reading = open.map(async (res, i) => {
      const decoder = new TextDecoder();
      for await (const chunk of res.body ?? []) texts[i] += decoder.decode(chunk, { stream: true });
      if (i === 0) hasEnded = true;
    });
    const nonceOf = (text: string) => /"nonce":"([^"]+)"/.exec(text)?.[1];
    await waitFor('hello', () => texts.every(nonceOf));
    for (const text of texts.slice(1)) {
      const res = await person.send('/api/confirm', { nonce: nonceOf(text), rooms: ['lobby'] });
      expect(res.status).toBe(204);
    }
    await waitFor('the end of the one that wasn’t confirmed', () => hasEnded);
    const confirmed = () => texts.slice(1);
    await person.post('still listening?');
    await waitFor('all of them to hear', () =>
      confirmed().every((text) => text.includes('still listening?')),
    );
    expect(confirmed().filter((text) => text.includes('"kind":"bye"'))).toEqual([]);
    abort.abort();
    await Promise.allSettled(reading);
  });

  test('the client’s own posts are told to it and to others, once and in order', async () => {
    const [ada, bob] = [await Person.logIn(url), await Person.logIn(url)];
    const clients = [clientOf(ada), clientOf(bob)];
    const heard = clients.map(() => [] as string[]);
    for (const [i, client] of clients.entries()) {
      client.on('message', ({ text, user }) => {
        if (user.id === ada.user.id) heard[i]?.push(text);
      });
      await client.connect(['lobby']);
    }
    const said = Array.from({ length: 40 }, (_, i) => `ada ${i}`);
    for (const text of said) clients[0]?.post('lobby', text);
    await waitFor('all of it', () => heard.every(({ length }) => length >= said.length), 20_000);
    expect(heard).toEqual([said, said]);
    for (const client of clients) client.close();
  });

  test('posts and followers on every carrier lose and double nothing as processes are killed and come back', async () => {
    const everybody = [...carriers, ...clientCarriers];
    const traffic = await Traffic.begin(url, { posters: 3, pauseMs: 30, carriers: everybody });
    try {
      await traffic.more(50);
      for (const index of [1, 3]) {
        const service = services[index] as ServiceProcess;
        const port = Number(await portOf(service));
        await service.kill('SIGKILL');
        await traffic.more(50);
        services[index] = launch(port);
        await portOf(services[index]);
      }
      await traffic.more(50);
      await traffic.settle();
    } finally {
      await traffic.stop();
    }
    const path = '/api/rooms/lobby/messages';
    for (const service of services) expect(asked(service, path)).toBeGreaterThan(0);
  }, 120_000);
});
