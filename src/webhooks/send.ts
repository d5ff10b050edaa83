import { type Hook, secretsOf } from '../chat/hooks.ts';
import type { Payload } from './payload.ts';
import { signedHeaders } from './sign.ts';

/** How a call went: undefined if it was taken, else why it wasn't. */
export interface Failure {
  readonly reason: string;
  /** What the receiver itself asks for. */
  readonly retryAfterMs?: number;
}

/**
 * Calls a receiver once. Only 2xx says that it was taken; a redirect isn't followed, since it would lead a signed call to
 * where nobody asked for it. Rejects only on abort.
 */
export async function send(
  hook: Pick<Hook, 'url' | 'secret' | 'retiring'>,
  { id, body }: Payload,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const ending = new AbortController();
  const end = () => ending.abort();
  const timer = setTimeout(end, timeoutMs);
  // AbortSignal.any would leave something behind at a signal that outlives the call: https://github.com/nodejs/node/issues/55351
  signal.addEventListener('abort', end);
  const now = Date.now();
  try {
    signal.throwIfAborted();
    const res = await fetch(hook.url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Throughline',
        ...signedHeaders(secretsOf(hook, now), id, Math.floor(now / 1000), body),
      },
      body,
      redirect: 'manual',
      signal: ending.signal,
    });
    // What it says besides isn't read: it may have no end.
    await res.body?.cancel();
    if (res.ok) return undefined;
    const retryAfterMs = Math.ceil(Number(res.headers.get('retry-after')) * 1000);
    return { reason: `status ${res.status}`, ...(retryAfterMs > 0 && { retryAfterMs }) };
  } catch (error) {
    signal.throwIfAborted();
    if (ending.signal.aborted) return { reason: `no answer within ${timeoutMs} ms` };
    const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
    return { reason: cause?.code ?? cause?.message ?? message };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}
