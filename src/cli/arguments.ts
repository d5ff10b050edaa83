import { type ParseArgsConfig, parseArgs } from 'node:util';
import { StartError } from '../log/start-error.ts';

const text = { type: 'string' } as const;
const many = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;

/** What every command takes. */
const COMMON = { json: flag, help: flag };

/** What commands take that work on Redis itself; the settings of the same names stand in for them. */
export const STORE_OPTIONS = { 'redis-url': text, 'data-dir': text, namespace: text };

/** What commands take that ask a service. */
export const ASKING_OPTIONS = { url: text, key: text, name: text, site: text };

export const SITE_OPTIONS = {
  ...STORE_OPTIONS,
  title: text,
  origin: many,
  guests: text,
  remove: text,
  'jwks-url': text,
  'public-key': text,
  issuer: text,
  audience: text,
  none: flag,
};

export const HOOK_OPTIONS = { ...STORE_OPTIONS, events: text, all: flag, now: flag };

export const KEY_OPTIONS = { ...STORE_OPTIONS, name: text, scopes: text };

export const TAIL_OPTIONS = { ...ASKING_OPTIONS, last: text };

export const POST_OPTIONS = { ...ASKING_OPTIONS, as: text, 'client-id': text };

type Options = NonNullable<ParseArgsConfig['options']>;

type Read<Own extends Options> = ReturnType<
  typeof parseArgs<{ options: typeof COMMON & Own; allowPositionals: true }>
>;

/** What a command was called with. Throws a StartError that shows how it is called. */
export function readArguments<Own extends Options>(
  args: readonly string[],
  options: Own,
  usage: string,
): Read<Own> {
  try {
    const all = { ...COMMON, ...options };
    return parseArgs({ args: [...args], options: all, allowPositionals: true }) as unknown as Read<Own>;
  } catch (error) {
    // Only the library's first sentence: the rest is about how to write a path that begins with a dash.
    throw new StartError(`${(error as Error).message.split('. ')[0]}.\n${usage}`);
  }
}

/** How a command is called, as an error. */
export function misused(usage: string): StartError {
  return new StartError(usage);
}

/** `a,b` as a list; undefined as undefined. */
export function listOf(text: string | undefined): string[] | undefined {
  return text?.split(',').filter((item) => item !== '');
}
