import { StartError } from '../log/start-error.ts';
import { misused } from './arguments.ts';
import type { Io } from './io.ts';

/** Who asks a service: with an API key, or as a guest for as long as the command runs. */
export interface Visit {
  /** A path of the service with the parameters given, and the site's name. */
  address(path: string, parameters?: Readonly<Record<string, string>>): string;
  readonly headers: Readonly<Record<string, string>>;
  /** Logs a guest out again. */
  end(): Promise<void>;
}

interface VisitFlags {
  readonly url?: string | undefined;
  readonly key?: string | undefined;
  readonly name?: string | undefined;
  readonly site?: string | undefined;
}

const DEFAULT_URL = 'http://localhost:3000';

/** Logs a guest in where there is no key. Throws a StartError. */
export async function beginVisit({ env, signal }: Io, flags: VisitFlags, usage: string): Promise<Visit> {
  const { name, site } = flags;
  const key = flags.key ?? env['THROUGHLINE_API_KEY'];
  const url = baseOf(flags.url ?? env['THROUGHLINE_URL'] ?? DEFAULT_URL);
  const address: Visit['address'] = (path, parameters = {}) => {
    const query = new URLSearchParams({ ...parameters, ...(site && { site }) });
    return `${url}${path}${query.size > 0 ? `?${query}` : ''}`;
  };
  if (key) return { address, headers: { Authorization: `Bearer ${key}` }, end: async () => {} };
  if (!name) throw misused(usage);
  const res = await ask(address('/api/session'), {
    method: 'POST',
    body: jsonOf({ name }),
    headers: JSON_TYPE,
    signal,
  });
  const cookie = res.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
  const headers = { Cookie: cookie };
  const end = async () => {
    // Whatever ended the command must not keep its name taken.
    await fetch(address('/api/session/end'), { method: 'POST', headers }).catch(() => {});
  };
  return { address, headers, end };
}

export const JSON_TYPE = { 'Content-Type': 'application/json' };

export function jsonOf(value: object): string {
  return JSON.stringify(value);
}

/** The service's answer. Throws a StartError with its refusal, or where it can't be reached. */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(url, init);
  } catch (error) {
    throw new StartError(`${new URL(url).origin} can’t be reached: ${reasonOf(error)}.`);
  }
  if (!res.ok) throw await refusalIn(res);
  return res;
}

/** The service said no. */
export class RefusedVisit extends StartError {
  readonly code: string;

  /** `code` as in the README's table of refusals. */
  constructor(code: string, message: string) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

/** What the service, or something before it, says where it refuses. */
export async function refusalIn(res: Response): Promise<StartError> {
  const body = (await res.json().catch(() => undefined)) as
    | { error?: { code: string; message: string } }
    | undefined;
  if (body?.error === undefined)
    return new StartError(
      `${res.url} answered ${res.status}${res.headers.has('throughline') ? '' : ', and not as Throughline does'}.`,
    );
  return new RefusedVisit(body.error.code, body.error.message);
}

export function reasonOf(error: unknown): string {
  const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
  return cause?.code ?? cause?.message ?? message;
}

/** Without a slash at the end. Throws a StartError. */
export function baseOf(url: string): string {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new StartError(`${JSON.stringify(url)} isn’t an http:// or https:// URL.`);
  return url.replace(/\/+$/, '');
}
