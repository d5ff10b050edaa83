import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configFrom, DEFAULTS, helpText, settingsTable } from '../src/config.ts';
import { StartError } from '../src/log/start-error.ts';

function config(env: Record<string, string>, ...argv: string[]) {
  const asked = configFrom(env, argv);
  if (asked.kind !== 'run') throw new Error('asked for help');
  return asked.config;
}

test('the README’s table of settings is the code’s', () => {
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(
    `<!-- settings -->\n${settingsTable()}\n<!-- /settings -->`,
  );
});

test('nothing set gives the defaults, and so do empty variables', () => {
  expect(config({})).toEqual(DEFAULTS);
  expect(config({ PORT: '', REDIS_URL: '' })).toEqual(DEFAULTS);
});

test('a flag, in either spelling, wins over its variable', () => {
  expect(config({ PORT: '4000' }).port).toBe(4000);
  expect(config({ PORT: '4000' }, '--port', '5000').port).toBe(5000);
  expect(config({ DATA_DIR: 'a' }, '--data-dir=b').dataDir).toBe('b');
});

test.each([
  [{ PORT: 'http' }, [], /PORT must be a whole number from 0 to 65535, not "http"/],
  [{ PORT: '70000' }, [], /PORT/],
  [{ REDIS_URL: 'localhost' }, [], /^REDIS_URL must be a URL such as redis:\/\/host, .*cluster.*\.$/],
  [{ REDIS_URL: 'redis:/host' }, [], /REDIS_URL must be a URL such as/],
  [{ REDIS_URL: 'redis+sentinel://a:1,b:2' }, [], /name of the master, as in redis\+sentinel:.*\.$/],
  [{ REDIS_URL: 'redis+sentinel://a/m?sentinelpass=x' }, [], /no other parameters than sentinelUsername/],
  [{ REDIS_URL: 'redis+cluster://a:1,b:99999' }, [], /hosts and ports separated by commas/],
  [{ REDIS_URL: 'redis+cluster://a:1/2' }, [], /nothing behind its hosts/],
  [{ REDIS_URL: 'redis://ada:12/34@host' }, [], /^REDIS_URL must be a URL in .* are percent-encoded[^4]*\.$/],
  [{ REDIS_URL: 'redis+sentinel://ada:12/34@host/m' }, [], /^REDIS_URL must be [^4]*\.$/],
  [{ REDIS_URL: 'rediss://host', REDIS_CERT: 'cert.pem' }, [], /REDIS_CERT and REDIS_KEY must be given/],
  [{ REDIS_URL: 'redis://host', REDIS_CA: 'ca.pem' }, [], /REDIS_CA, .* REDIS_URL that begins with rediss/],
  [{ DURABILITY: 'replica' }, [], /DURABILITY=replica needs REDIS_URL/],
  [{ DURABILITY: 'fsync' }, [], /DURABILITY must be master or replica/],
  [{ SESSION_SECRET: 'hush' }, [], /^SESSION_SECRET must be at least 16 characters\.$/],
  [{ BASE_PATH: 'chat' }, [], /BASE_PATH must be a path such as \/chat/],
  [{ BASE_PATH: '/a/../b' }, [], /BASE_PATH/],
  [{ PUBLIC_URL: 'chat.example.org' }, [], /PUBLIC_URL/],
  [{ ALLOWED_ORIGINS: 'https://a.example/path' }, [], /ALLOWED_ORIGINS/],
  [{ TLS_CERT: 'cert.pem' }, [], /TLS_CERT and TLS_KEY/],
  [{ HTTP_REDIRECT_PORT: '80' }, [], /HTTP_REDIRECT_PORT needs TLS_CERT/],
  [{ TRUST_PROXY: 'yes!' }, [], /TRUST_PROXY/],
  [{ LOG_LEVEL: 'loud' }, [], /LOG_LEVEL/],
  [{ METRICS_PORT: 'on' }, [], /METRICS_PORT/],
  [{ METRICS_TOKEN: 'hush' }, [], /^METRICS_TOKEN must be at least 16 letters, digits and -\._~\+\/\.$/],
  [{ HEARTBEAT_MS: '0' }, [], /HEARTBEAT_MS/],
  [{}, ['--heartbeat-ms', '1.5'], /--heartbeat-ms/],
  [{}, ['--prot', '1'], /--prot/],
  [{}, ['stray'], /belongs to no flag/],
] as const)('what is unknown or malformed is named and refused: %j %j', (env, argv, message) => {
  expect(() => configFrom(env, argv)).toThrow(StartError);
  expect(() => configFrom(env, argv)).toThrow(message);
});

test('help lists every setting with its default', () => {
  expect(configFrom({}, ['--help']).kind).toBe('help');
  for (const name of ['PORT', '--data-dir', 'SESSION_SECRET', '3000', './data'])
    expect(helpText()).toContain(name);
});
