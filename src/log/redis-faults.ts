import { ONCE, openEndpoint } from './open-redis.ts';
import type { Access, Endpoint } from './redis-address.ts';

/** What REDIS_URL calls that by which one is let in. */
interface LogIn {
  readonly username: string;
  readonly password: string;
}

const OF_SERVERS: LogIn = { username: 'user', password: 'password' };
export const OF_SENTINELS: LogIn = { username: 'sentinelUsername', password: 'sentinelPassword' };

/** Why one of several servers can't be used; undefined where it answers. */
interface Fault {
  readonly at: string;
  readonly reason: string | undefined;
}

const ANSWER_WITHIN_MS = 3000;

/**
 * What is wrong with each of these servers, as one sentence; undefined where all of them answer. The library tells only
 * that connections were closed, not what closed them, wherever it may ask the next server instead.
 */
export async function faultsOf(
  endpoints: readonly Endpoint[],
  access: Access,
  logIn?: LogIn,
): Promise<string | undefined> {
  const faults = await Promise.all(endpoints.map((endpoint) => faultOf(endpoint, access, logIn)));
  const reasons = [...new Set(faults.flatMap(({ reason }) => reason ?? []))];
  if (reasons.length === 0) return undefined;
  return reasons
    .map((reason) => {
      const places = faults.filter((fault) => fault.reason === reason).map(({ at }) => at);
      return `${places.join(', ')}: ${reason}`;
    })
    .join(' ');
}

async function faultOf(endpoint: Endpoint, access: Access, logIn?: LogIn): Promise<Fault> {
  const { host, port } = endpoint;
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const redis = openEndpoint(endpoint, access, { ...ONCE, commandTimeout: ANSWER_WITHIN_MS });
  const reasons: Error[] = [];
  redis.on('error', (error: Error) => reasons.push(error));
  try {
    await redis.connect();
    await redis.ping();
    return { at, reason: undefined };
  } catch (error) {
    // Whoever may not ask that has been let in.
    if ((error as Error).message.startsWith('NOPERM')) return { at, reason: undefined };
    return { at, reason: explainRedis(reasons[0] ?? error, access.tls !== undefined, logIn) };
  } finally {
    redis.disconnect();
  }
}

const UNTRUSTED = /SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)|CERT_UNTRUSTED/;

/** What an error of the library means to the operator, as the rest of a sentence. Tells no password. */
export function explainRedis(error: unknown, isTls: boolean, logIn = OF_SERVERS): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (/NOAUTH/.test(message))
    return `it refused the log-in: REDIS_URL has no ${logIn.password} (${message}).`;
  if (/WRONGPASS|invalid password|without any password/i.test(message))
    return `it refused the log-in: ${logIn.username} or ${logIn.password} in REDIS_URL is wrong (${message}).`;
  if (/NOPERM/.test(message))
    return `it doesn’t allow the ${logIn.username} in REDIS_URL what is needed (${message}).`;
  if (/cluster support disabled/.test(message)) return 'it is no Cluster; say redis:// in its URL.';
  if (UNTRUSTED.test(code))
    return `its certificate is by nobody that is trusted here (${message}); REDIS_CA names the authority’s file.`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `its certificate is another host’s (${message}).`;
  if (code === 'ECONNREFUSED') return 'nothing listens there.';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of that name.';
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/.test(code))
    return 'it wants a certificate of its clients; see REDIS_CERT and REDIS_KEY.';
  if (code === 'ECONNRESET' || code === 'EPIPE' || message === 'Connection is closed.') {
    return isTls
      ? 'it closed the connection; it may want a certificate of its clients (REDIS_CERT, REDIS_KEY).'
      : 'it closed the connection; it may want TLS (rediss in REDIS_URL).';
  }
  if (code === 'ETIMEDOUT' || /^(timeout|Command timed out)$/.test(message))
    return isTls ? 'it didn’t answer; it may not talk TLS.' : 'it didn’t answer.';
  return `${message.replace(/\.$/, '')}.`;
}
