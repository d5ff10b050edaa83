import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { type Config, DEFAULTS } from '../../src/config.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import type { TestRedis } from './redis.ts';
import { settled } from './wait-for.ts';

/** Settings for tests: fast, and in a namespace of their own. */
export function testConfig(redis: Pick<TestRedis, 'path'>, overrides: Partial<Config> = {}): Config {
  return {
    ...DEFAULTS,
    port: 0,
    host: '127.0.0.1',
    redisUrl: redis.path,
    namespace: `t${randomBytes(6).toString('hex')}`,
    logLevel: 'silent',
    drainMs: 1000,
    byeSpreadMs: 100,
    postBurst: 100_000,
    warmUp: 'off',
    ...overrides,
  };
}

export function startTestServer(config: Config): Promise<RunningServer> {
  return startServer(config, pino({ level: process.env['TEST_LOG'] ?? 'silent' }));
}

/** What the answer to a log-in tells. */
interface LogIn {
  readonly user: { id: string; name: string };
  readonly token?: string;
}

/** Somebody logged in: their cookie, and requests that carry it. */
export class Person {
  readonly url: string;
  readonly cookie: string;
  readonly user: { id: string; name: string };
  readonly site: string;
  /** In place of a cookie. */
  readonly token: string | undefined;

  private constructor(
    url: string,
    cookie: string,
    user: { id: string; name: string },
    site: string,
    token?: string,
  ) {
    this.url = url;
    this.cookie = cookie;
    this.user = user;
    this.site = site;
    this.token = token;
  }

  static async logIn(
    url: string,
    name = `p-${randomBytes(4).toString('hex')}`,
    site = 'main',
  ): Promise<Person> {
    const { res, told } = await Person.#opened(url, site, { name });
    const cookie = (res.headers.get('set-cookie') as string).split(';')[0] as string;
    return new Person(url, cookie, told.user, site);
  }

  /** Somebody whom a host site vouches for, by cookie or by token. */
  static async byClaims(url: string, claims: string, site = 'main', token?: '1'): Promise<Person> {
    const { res, told } = await Person.#opened(url, site, { claims, ...(token && { token }) });
    const cookie = res.headers.get('set-cookie')?.split(';')[0] ?? '';
    return new Person(url, cookie, told.user, site, told.token);
  }

  /** A session that was opened, and what its answer told. */
  static async #opened(url: string, site: string, body: object): Promise<{ res: Response; told: LogIn }> {
    const answer = async () => {
      const res = await Person.nobody(url, site).send('/api/session', body);
      if (res.status !== 201) throw new Error(`log-in: ${res.status} ${await res.text()}`);
      return { res, told: (await res.json()) as LogIn };
    };
    return settled('a log-in', answer());
  }

  /** Somebody without a session. */
  static nobody(url: string, site = 'main'): Person {
    return new Person(url, '', { id: '', name: '' }, site);
  }

  /** The same person, asking another process. */
  at(url: string): Person {
    return new Person(url, this.cookie, this.user, this.site, this.token);
  }

  /** The headers that say who it is. */
  get credentials(): Record<string, string> {
    return this.token === undefined ? { Cookie: this.cookie } : { Authorization: `Bearer ${this.token}` };
  }

  /** The URL of a path, with the person's site. */
  address(path: string): string {
    const site = this.site === 'main' ? '' : `${path.includes('?') ? '&' : '?'}site=${this.site}`;
    return this.url + path + site;
  }

  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.address(path), {
      ...init,
      headers: { ...this.credentials, ...(init.headers as Record<string, string>) },
    });
  }

  send(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { 'Content-Type': 'application/json', ...(init.headers as Record<string, string>) };
    return this.get(path, { ...init, method: 'POST', body: JSON.stringify(body), headers });
  }

  async post(text: string, room = 'lobby', clientId?: string): Promise<string> {
    const answer = async () => {
      const res = await this.send(`/api/rooms/${room}/messages`, { text, clientId });
      if (!res.ok) throw new Error(`post: ${res.status} ${await res.text()}`);
      return ((await res.json()) as { id: string }).id;
    };
    return settled('a post', answer());
  }

  async history(
    query = '',
    room = 'lobby',
  ): Promise<{ events: WireEvent[]; cursor: string; more: boolean; floor: string }> {
    const answer = this.get(`/api/rooms/${room}/messages?${query}`).then((res) => res.json());
    return (await settled('the history', answer)) as never;
  }
}

/** Any event of the wire. */
export interface WireEvent {
  kind: string;
  room?: string;
  id?: string;
  text?: string;
  reason?: string;
  code?: string;
  [field: string]: unknown;
}
