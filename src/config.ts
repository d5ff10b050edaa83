import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isTls, parseRedisAddress } from './log/redis-address.ts';
import { StartError } from './log/start-error.ts';

/** How one setting is read: throws an Error that says what is wanted. */
type Parse<T> = (text: string) => T;

interface Setting<T> {
  readonly env: string;
  readonly initial: T;
  readonly parse: Parse<T>;
  readonly why: string;
  /** Its value is never told. */
  readonly isSecret?: boolean;
}

function setting<T>(env: string, initial: T, parse: Parse<T>, why: string, isSecret = false): Setting<T> {
  return { env, initial, parse, why, isSecret };
}

function integer(min: number, max = Number.MAX_SAFE_INTEGER): Parse<number> {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new Error(
        max === Number.MAX_SAFE_INTEGER
          ? `a whole number from ${min}`
          : `a whole number from ${min} to ${max}`,
      );
    }
    return value;
  };
}

function matching(shape: RegExp, wanted: string): Parse<string> {
  return (text) => {
    if (!shape.test(text)) throw new Error(wanted);
    return text;
  };
}

function urlOf(protocols: readonly string[], wanted: string): Parse<string> {
  return (text) => {
    // The URL parser forgives blanks and missing slashes; comparisons of origins don't.
    const url = /^\w+:\/\/\S+$/.test(text) && URL.canParse(text) ? new URL(text) : undefined;
    if (!url?.hostname || !protocols.includes(url.protocol)) throw new Error(wanted);
    return text;
  };
}

function redisUrl(text: string): string {
  parseRedisAddress(text);
  return text;
}

function optional<T>(parse: Parse<T>): Parse<T | undefined> {
  return parse;
}

const webUrl = urlOf(['http:', 'https:'], 'an http:// or https:// URL');

function origins(text: string): readonly string[] {
  return text.split(',').map((origin) => {
    if (
      !/^https?:/.test(origin.trim()) ||
      !URL.canParse(origin.trim()) ||
      new URL(origin.trim()).origin !== origin.trim()
    ) {
      throw new Error('origins such as https://www.example.org, separated by commas');
    }
    return origin.trim();
  });
}

function basePath(text: string): string {
  const path = text.replace(/\/$/, '');
  if (path !== '' && !/^(?!.*\.\.)(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$/.test(path))
    throw new Error('a path such as /chat');
  return path;
}

function trustProxy(text: string): number | string {
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const addresses = text.split(',').map((address) => address.trim());
  if (!addresses.every(isProxyAddress)) {
    throw new Error(
      'a number of proxies, or addresses, subnets, loopback, linklocal or uniquelocal, separated by commas',
    );
  }
  return addresses.join(',');
}

/** What Express takes for a proxy; it throws at what it doesn't, and takes 100 for the address 0.0.0.100. */
function isProxyAddress(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true;
  const [, address = '', bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  const widest = family === 4 ? 32 : 128;
  return family !== 0 && (bits === undefined || (Number(bits) >= 1 && Number(bits) <= widest));
}

const MAX_WORKERS = 256;

function workers(text: string): number {
  const count = text === 'auto' ? availableParallelism() : Number(text);
  if (!/^(auto|\d+)$/.test(text) || count < 1 || count > MAX_WORKERS) {
    throw new Error(`auto, or a whole number from 1 to ${MAX_WORKERS}`);
  }
  return count;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const anyText = matching(/\S/, 'something');
/** In ms. setTimeout takes 2 ** 31 - 1 at most (more means at once), and some are stretched, by jitter for one. */
const duration = integer(1, 500_000_000);

/** Every setting there is: its variable, its default, what may be said, and why one would. */
const SETTINGS = {
  port: setting('PORT', 3000, integer(0, 65535), 'Port to listen on; 0 takes a free one.'),
  host: setting('HOST', '0.0.0.0', anyText, 'Address to listen on.'),
  workers: setting(
    'WORKERS',
    1,
    workers,
    'Processes that serve, over one port and one Redis; auto: one for each core.',
  ),
  redisUrl: setting(
    'REDIS_URL',
    undefined,
    optional(redisUrl),
    'Redis to use: one server, Sentinels or a Cluster. Unset: a private redis-server in the data folder.',
    true,
  ),
  redisCa: setting(
    'REDIS_CA',
    undefined,
    optional(anyText),
    'With rediss in REDIS_URL: file (PEM) of the authorities that vouch for Redis. Unset: those that Node.js knows.',
  ),
  redisCert: setting(
    'REDIS_CERT',
    undefined,
    optional(anyText),
    'With rediss in REDIS_URL: certificate file (PEM) shown to Redis, where it wants one.',
  ),
  redisKey: setting('REDIS_KEY', undefined, optional(anyText), 'Key file (PEM) of that certificate.'),
  durability: setting<string>(
    'DURABILITY',
    'master',
    matching(/^(master|replica)$/, 'master or replica'),
    'Who must have a post before it is accepted: the master alone, or REPLICAS replicas as well.',
  ),
  replicas: setting(
    'REPLICAS',
    1,
    integer(1, 100),
    'With DURABILITY=replica: how many replicas each master has; each of them must have a post.',
  ),
  replicaWaitMs: setting(
    'REPLICA_WAIT_MS',
    1000,
    integer(1, 4000),
    'Longest that a batch of posts waits for the replicas; then they are unsure.',
  ),
  dataDir: setting('DATA_DIR', './data', anyText, 'Folder of the private redis-server.'),
  namespace: setting(
    'NAMESPACE',
    'tl',
    matching(/^[a-z0-9-]{1,32}$/, '1 to 32 of a-z, 0-9 and -'),
    'What all keys in Redis begin with.',
  ),
  shards: setting(
    'SHARDS',
    1,
    integer(1, 64),
    'Journals that the sites are shared out over; stays what it was at the first start.',
  ),
  sessionSecret: setting(
    'SESSION_SECRET',
    undefined,
    optional(matching(/^.{16,}$/s, 'at least 16 characters')),
    'Signs the session cookie. Unset: made once and kept in Redis.',
    true,
  ),
  sessionTtlMs: setting('SESSION_TTL_MS', 86_400_000, integer(1000), 'Life of a session that isn’t used.'),
  basePath: setting('BASE_PATH', '', basePath, 'Path under which everything is served.'),
  publicUrl: setting(
    'PUBLIC_URL',
    undefined,
    optional(webUrl),
    'Where browsers find the service; compared with Origin. Unset: the Host header.',
  ),
  allowedOrigins: setting<readonly string[]>(
    'ALLOWED_ORIGINS',
    [],
    origins,
    'Further origins whose pages may post and open WebSockets.',
  ),
  tlsCert: setting(
    'TLS_CERT',
    undefined,
    optional(anyText),
    'Certificate file (PEM); makes it HTTPS, read again when it changes.',
  ),
  tlsKey: setting('TLS_KEY', undefined, optional(anyText), 'Key file (PEM) of the certificate.'),
  httpRedirectPort: setting(
    'HTTP_REDIRECT_PORT',
    undefined,
    optional(integer(0, 65535)),
    'With TLS: port that sends plain HTTP to HTTPS, at the host of PUBLIC_URL or that of the Host header.',
  ),
  trustProxy: setting(
    'TRUST_PROXY',
    undefined,
    optional(trustProxy),
    'Proxies in front whose X-Forwarded headers are believed: how many, or which.',
  ),
  logLevel: setting<string>(
    'LOG_LEVEL',
    'info',
    matching(new RegExp(`^(${LOG_LEVELS.join('|')})$`), LOG_LEVELS.join(', ')),
    'Least level that is logged.',
  ),
  heartbeatMs: setting(
    'HEARTBEAT_MS',
    15_000,
    duration,
    'Longest quiet on a stream; a client may ask for less.',
  ),
  pollWaitMs: setting(
    'POLL_WAIT_MS',
    25_000,
    duration,
    'Longest that a poll is held; a client may ask for less.',
  ),
  confirmMs: setting(
    'CONFIRM_MS',
    10_000,
    duration,
    'A stream opened with confirm=1 must be confirmed within this.',
  ),
  leaseMs: setting('LEASE_MS', 60_000, duration, 'How long a confirmation holds.'),
  websocket: setting<string>(
    'WEBSOCKET',
    'on',
    matching(/^(on|off)$/, 'on or off'),
    'Whether streams may be WebSockets as well.',
  ),
  warmUp: setting<string>(
    'WARM_UP',
    'on',
    matching(/^(on|off)$/, 'on or off'),
    'Whether the service’s own server serves some visitors of its own before it listens, so that the first to come wait less.',
  ),
  presenceListed: setting(
    'PRESENCE_LISTED',
    100,
    integer(1, 1000),
    'People of a room that are listed; what happens above this isn’t told.',
  ),
  streamMaxAgeMs: setting(
    'STREAM_MAX_AGE_MS',
    1_800_000,
    duration,
    'Age at which a stream is ended, give or take a fifth.',
  ),
  stallMs: setting('STALL_MS', 30_000, duration, 'A socket that takes nothing for so long is ended.'),
  drainMs: setting('DRAIN_MS', 10_000, duration, 'Longest that a stop waits for requests under way.'),
  byeSpreadMs: setting('BYE_SPREAD_MS', 5000, duration, 'Clients sent away come back spread over this.'),
  journalEntries: setting('JOURNAL_ENTRIES', 100_000, integer(1), 'Entries that a journal keeps, about.'),
  roomLogEntries: setting('ROOM_LOG_ENTRIES', 10_000, integer(1), 'Entries that each room keeps, about.'),
  windowEntries: setting(
    'WINDOW_ENTRIES',
    10_000,
    integer(1),
    'Newest entries of a shard that a process keeps in memory.',
  ),
  windowBytes: setting('WINDOW_BYTES', 33_554_432, integer(1), 'Most bytes of them.'),
  pageEntries: setting('PAGE_ENTRIES', 200, integer(1), 'Entries of one room read from its log at once.'),
  tailBatchEntries: setting('TAIL_BATCH_ENTRIES', 1000, integer(1), 'Entries of the journal read at once.'),
  concurrentReads: setting('CONCURRENT_READS', 16, integer(1), 'Log reads of a shard under way at once.'),
  postBurst: setting('POST_BURST', 120, integer(1), 'Posts that a user may send in a burst.'),
  postsPerSecond: setting('POSTS_PER_SECOND', 2, integer(1), 'Posts a second that a user may send besides.'),
  apiKeyBurst: setting('API_KEY_BURST', 300, integer(1), 'Requests that an API key may send in a burst.'),
  apiKeyRequestsPerSecond: setting(
    'API_KEY_REQUESTS_PER_SECOND',
    20,
    integer(1),
    'Requests a second that an API key may send besides.',
  ),
  webhookTimeoutMs: setting(
    'WEBHOOK_TIMEOUT_MS',
    10_000,
    duration,
    'Longest that a call of a webhook’s receiver may take.',
  ),
  webhookConcurrency: setting(
    'WEBHOOK_CONCURRENCY',
    4,
    integer(1, 100),
    'Events that each process tells one receiver, or waits to tell it again, at once.',
  ),
  webhookTries: setting('WEBHOOK_TRIES', 12, integer(1, 100), 'Tries after which an event is a dead letter.'),
  webhookBackoffMs: setting(
    'WEBHOOK_BACKOFF_MS',
    2000,
    duration,
    'Longest wait before the second try; doubles with each, up to ten minutes.',
  ),
  metricsPort: setting(
    'METRICS_PORT',
    undefined,
    optional(integer(0, 65535)),
    'Port of its own for `GET /metrics`; 0 takes a free one.',
  ),
  metricsHost: setting(
    'METRICS_HOST',
    '127.0.0.1',
    anyText,
    'Address of that port: who reaches it reads it, so it isn’t HOST’s.',
  ),
  metricsToken: setting(
    'METRICS_TOKEN',
    undefined,
    optional(matching(/^[\w.~+/-]{16,}=*$/, 'at least 16 letters, digits and -._~+/')),
    'Serves `/metrics` on PORT too, to whoever sends it as `Authorization: Bearer …`; wanted on METRICS_PORT as well then.',
    true,
  ),
  maxRooms: setting('MAX_ROOMS', 10_000, integer(1), 'Rooms that a site may have.'),
};

type Settings = typeof SETTINGS;
type Name = keyof Settings;

/** All settings, with their units in their names. */
export type Config = { readonly [K in Name]: Settings[K]['initial'] | ReturnType<Settings[K]['parse']> };

const NAMES = Object.keys(SETTINGS) as Name[];

/** The settings of somebody who sets nothing. */
export const DEFAULTS = Object.fromEntries(
  NAMES.map((name) => [name, SETTINGS[name].initial]),
) as unknown as Config;

/** What was asked for on the command line. */
export type Asked = { readonly kind: 'help' } | { readonly kind: 'run'; readonly config: Config };

/** Reads the settings; a flag wins over its variable, and an empty variable counts as unset. Throws a StartError. */
export function configFrom(
  env: Readonly<Record<string, string | undefined>>,
  argv: readonly string[],
): Asked {
  const flags = readFlags(argv);
  if (flags['help'] === true) return { kind: 'help' };
  const config = Object.fromEntries(
    NAMES.map((name) => {
      const { env: variable, initial } = SETTINGS[name];
      const flag = flags[flagOf(name)];
      if (typeof flag === 'string') return [name, read(name, `--${flagOf(name)}`, flag)];
      const value = env[variable];
      return [name, value === undefined || value === '' ? initial : read(name, variable, value)];
    }),
  ) as unknown as Config;
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    throw new StartError('TLS_CERT and TLS_KEY must be given together.');
  }
  if (config.httpRedirectPort !== undefined && config.tlsCert === undefined) {
    throw new StartError('HTTP_REDIRECT_PORT needs TLS_CERT and TLS_KEY.');
  }
  if ((config.redisCert === undefined) !== (config.redisKey === undefined)) {
    throw new StartError('REDIS_CERT and REDIS_KEY must be given together.');
  }
  if ((config.redisCa ?? config.redisCert) !== undefined && !isTls(config.redisUrl ?? '')) {
    throw new StartError('REDIS_CA, REDIS_CERT and REDIS_KEY need a REDIS_URL that begins with rediss.');
  }
  if (config.durability === 'replica' && config.redisUrl === undefined) {
    throw new StartError('DURABILITY=replica needs REDIS_URL: the private redis-server has no replicas.');
  }
  return { kind: 'run', config };
}

function readFlags(argv: readonly string[]): Record<string, unknown> {
  const options = Object.fromEntries(NAMES.map((name) => [flagOf(name), { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...argv], options: { ...options, help: { type: 'boolean' } }, strict: true })
      .values;
  } catch (error) {
    throw new StartError(`${explain(error as NodeJS.ErrnoException, argv)}; see --help.`);
  }
}

function explain({ code, message }: NodeJS.ErrnoException, argv: readonly string[]): string {
  const flag = /'(-[^'\s,]*)/.exec(message)?.[1];
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return `${flag} isn’t a flag`;
  if (flag === '--help') return '--help takes no value';
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') return `${flag} needs a value, as in ${flag}=…`;
  // Beside a secret it isn't repeated: it may be the rest of one that wasn't quoted.
  const secrets = NAMES.filter((name) => SETTINGS[name].isSecret).map((name) => `--${flagOf(name)}`);
  const isTold = !argv.some((argument) => secrets.some((secret) => argument.startsWith(secret)));
  const stray = isTold ? /^Unexpected argument '([^\n]*?)'/.exec(message)?.[1] : undefined;
  return `An argument${stray ? `, ${JSON.stringify(stray)},` : ''} belongs to no flag, where --flag value or --flag=value is wanted`;
}

function read(name: Name, source: string, text: string): unknown {
  const { parse, isSecret } = SETTINGS[name];
  try {
    return parse(text);
  } catch (error) {
    const given = isSecret ? '' : `, not ${JSON.stringify(text)}`;
    throw new StartError(`${source} must be ${(error as Error).message}${given}.`);
  }
}

function flagOf(name: Name): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function shown(name: Name): string {
  const { initial } = SETTINGS[name];
  return initial === undefined || initial === '' || Array.isArray(initial) ? '' : String(initial);
}

/** What `--help` prints. */
export function helpText(): string {
  const lines = NAMES.map((name) => {
    const initial = shown(name);
    return `  --${flagOf(name)}, ${SETTINGS[name].env}${initial && ` (${initial})`}\n      ${SETTINGS[name].why}`;
  });
  return `throughline [--flag value …]\n\nEach setting is a flag and an environment variable; the flag wins.\n\n${lines.join('\n')}\n  --help`;
}

/** The README's table of settings. */
export function settingsTable(): string {
  const rows = NAMES.map((name) => {
    const initial = shown(name);
    return `| \`${SETTINGS[name].env}\` | \`--${flagOf(name)}\` | ${initial && `\`${initial}\``} | ${SETTINGS[name].why} |`;
  });
  return ['| variable | flag | default | what it does |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
