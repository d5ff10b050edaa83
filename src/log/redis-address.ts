import type { RedisTls } from './redis-tls.ts';

/** One process to connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** How one is let in, by all the servers of a kind. */
export interface Access {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** undefined: without TLS. */
  readonly tls: RedisTls | undefined;
}

/** Sentinels, and the name of the master they watch. */
export interface SentinelAddress extends Access {
  readonly sentinels: readonly Endpoint[];
  readonly master: string;
  readonly db: number;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
}

/** Some nodes of a Cluster; they name the others. */
export interface ClusterAddress extends Access {
  readonly cluster: readonly Endpoint[];
}

/** Where Redis is: one server's URL or Unix socket, Sentinels that know its master, or a Cluster. */
export type RedisAddress =
  | { readonly url: string; readonly tls: RedisTls | undefined }
  | { readonly path: string }
  | SentinelAddress
  | ClusterAddress;

const SHAPE = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const ENDPOINT = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?$/;
const SENTINEL_PORT = 26379;
const SERVER_PORT = 6379;

const WANTED =
  'a URL such as redis://host, rediss://host, redis+sentinel://host:port,host:port/master or redis+cluster://host:port,host:port';

/**
 * Reads `redis[s]://…`, `redis[s]+sentinel://[user:password@]host[:port],…/master[/db][?sentinelUsername=&sentinelPassword=]`
 * or `redis[s]+cluster://[user:password@]host[:port],…`; what is percent-encoded is decoded. Throws an Error that says
 * what is wanted.
 */
export function parseRedisAddress(text: string, tls: RedisTls = {}): RedisAddress {
  if (/^rediss?:/.test(text)) return { url: serverUrl(text), tls: isTls(text) ? tls : undefined };
  const match = SHAPE.exec(text);
  if (match === null) throw new Error(WANTED);
  const [, , kind, user = '', hosts = '', path = '', query = ''] = match;
  const [username, ...password] = user.split(':');
  const access: Access = {
    username: decoded(username) || undefined,
    password: decoded(password.join(':')) || undefined,
    tls: isTls(text) ? tls : undefined,
  };
  const parameters = new URLSearchParams(query);
  mustBeEncoded(path);
  if (kind === 'cluster') {
    if (path !== '' || query !== '') throw new Error('a redis+cluster:// URL with nothing behind its hosts');
    return { ...access, cluster: endpoints(hosts, SERVER_PORT) };
  }
  const [master = '', db = '0', ...rest] = path.split('/').map(decoded);
  if (master === '' || !/^\d{1,4}$/.test(db) || rest.length > 0) {
    throw new Error(
      'a redis+sentinel:// URL with the name of the master, as in redis+sentinel://host:port/mymaster',
    );
  }
  for (const name of parameters.keys()) {
    if (!['sentinelUsername', 'sentinelPassword'].includes(name))
      throw new Error(
        'a redis+sentinel:// URL with no other parameters than sentinelUsername and sentinelPassword',
      );
  }
  return {
    ...access,
    sentinels: endpoints(hosts, SENTINEL_PORT),
    master,
    db: Number(db),
    sentinelUsername: parameters.get('sentinelUsername') || undefined,
    sentinelPassword: parameters.get('sentinelPassword') || undefined,
  };
}

/** Whether such a URL asks for TLS. */
export function isTls(text: string): boolean {
  return text.startsWith('rediss');
}

/** An address as it may be told: without what lets one in. */
export function nameOf(address: RedisAddress): string {
  if ('url' in address) {
    const { protocol, username, password, host, pathname } = new URL(address.url);
    return `${protocol}//${username || password ? '…@' : ''}${host}${pathname}`;
  }
  if ('path' in address) return address.path;
  const list = (nodes: readonly Endpoint[]) =>
    nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
  const scheme = address.tls ? 'rediss' : 'redis';
  return 'cluster' in address
    ? `${scheme}+cluster://${list(address.cluster)}`
    : `${scheme}+sentinel://${list(address.sentinels)}/${address.master}`;
}

/** The URL parser forgives blanks and missing slashes; Redis' client doesn't. */
function serverUrl(text: string): string {
  const url = /^\w+:\/\/\S+$/.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (!url?.hostname) throw new Error(WANTED);
  mustBeEncoded(url.pathname + url.search + url.hash);
  return text;
}

/** An @ behind the host means that what was taken for the host is a user, and what follows a password. */
function mustBeEncoded(rest: string): void {
  if (rest.includes('@'))
    throw new Error('a URL in whose user and password / ? # and @ are percent-encoded, as in %2F for /');
}

function endpoints(list: string, defaultPort: number): Endpoint[] {
  return list.split(',').map((text) => {
    const match = ENDPOINT.exec(text);
    const port = Number(match?.[3] ?? defaultPort);
    if (match === null || port < 1 || port > 65535) {
      throw new Error('a URL with hosts and ports separated by commas, as in redis+cluster://a:6379,b:6379');
    }
    return { host: (match[1] ?? match[2]) as string, port };
  });
}

function decoded(text = ''): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('a URL whose % are encoded (%25)');
  }
}
