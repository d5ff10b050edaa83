const PASSING = /^(blocked|unreachable|unavailable|unsure|too_fast|internal)$/;

/** The service said no (`code` as in the README's table of refusals), or couldn't be asked. */
export class Refused extends Error {
  /** A refusal's code; `unreachable`: no answer; `blocked`: something else than the service answered. */
  readonly code: string;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;
  /** How long the service asks to wait, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(code: string, message: string, status?: number, retryAfterMs?: number) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same may succeed later. */
  get isPassing(): boolean {
    return PASSING.test(this.code);
  }
}

/** Where the service is, and how it is asked. */
export interface Access {
  /** Its base URL or base path, without a slash at the end; '' is the root of the page's origin. */
  readonly url: string;
  readonly fetch: typeof fetch;
  /** What names the site in a query, `site=…&`; '' for `main`. */
  readonly site: string;
}

/** The URL of a route of the API. */
export function urlOf({ url, site }: Access, path: string): string {
  return `${url}/api${path}${site && (path.includes('?') ? '&' : '?') + site}`;
}

/** What the service's codes look like; a gateway's JSON error has another. A test holds the table of refusals to it. */
const CODES =
  /^((no|claims|room)_\w+|\w+_(unknown|missing|body|field|refused|found|allowed|taken|reused|user|rooms|large|type|fast)|internal|unavailable|unsure)$/;
const ANSWER_WITHIN_MS = 15_000;

/** Sends a request; the answer's head is waited for, not its body. `unreachable` if there is none. */
export async function send(
  access: Access,
  path: string,
  { body, accept, signal }: { body?: object | undefined; accept?: string; signal: AbortSignal },
): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body) headers['Content-Type'] = 'application/json';
  if (accept) headers['Accept'] = accept;
  try {
    return await access.fetch(urlOf(access, path), {
      method: body ? 'POST' : 'GET',
      // Otherwise a browser lets equal requests wait for one another, for the sake of its cache.
      cache: 'no-store',
      credentials: 'same-origin',
      signal,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    });
  } catch {
    throw unreachable();
  }
}

function unreachable(): Refused {
  return new Refused('unreachable', 'The service can’t be reached.');
}

/** What an answer that isn't the one hoped for says: the service's own refusal, or `blocked`. */
export async function refusalIn(response: Response): Promise<Refused> {
  const text = await response.text().catch(() => '');
  return refusalOf(text, response.status, response.headers.get('Retry-After'));
}

/** Whether nobody is known any more to whom it is said: not logged in, or a guest where there are to be none. */
export const isShutOut = (code: string | undefined) =>
  /^(no_session|session_ended|guests_refused)$/.test(String(code));

/** The refusal that a body is; `blocked` where it isn't the service's, whose codes are a closed set. */
export function refusalOf(text: string, status: number, retryAfter?: string | null): Refused {
  const asked = Number(retryAfter ?? 0);
  try {
    const { error } = JSON.parse(text);
    if (CODES.test(error.code)) {
      const waitMs = (error.retryAfter ?? asked) * 1000;
      return new Refused(error.code, String(error.message), status, waitMs || undefined);
    }
  } catch {
    // Not ours.
  }
  const waitMs = status === 429 || status === 503 ? asked * 1000 : 0;
  return new Refused('blocked', 'Something else answered.', status, waitMs || undefined);
}

interface Question {
  /** Makes it a POST. */
  readonly body?: object | undefined;
  readonly withinMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Asks for JSON. Rejects with `Refused`. */
export async function ask<T>(
  access: Access,
  path: string,
  { body, withinMs = ANSWER_WITHIN_MS, signal }: Question = {},
): Promise<T> {
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = setTimeout(abort, withinMs);
  signal?.addEventListener('abort', abort);
  try {
    const response = await send(access, path, { body, signal: stop.signal });
    if (response.status === 204) return undefined as T;
    if (!response.ok) throw await refusalIn(response);
    const text = await response.text().catch(() => {
      throw unreachable();
    });
    try {
      return JSON.parse(text) as T;
    } catch {
      throw refusalOf(text, response.status);
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
