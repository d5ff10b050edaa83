import {
  compactVerify,
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  errors,
  importSPKI,
} from 'jose';
import { Refusal } from '../chat/refusals.ts';
import type { JwtIssuer, Site } from '../chat/sites.ts';
import { utf8 } from './utf8.ts';

/** [spec] RFC 8725, 3.1: the algorithm is the verifier's to choose, and each key is used with one kind alone. */
const SECRET_ALGORITHM = 'HS256';
const PUBLIC_ALGORITHMS = ['RS256', 'ES256'];

const FETCH_WITHIN_MS = 3000;
const KEEP_KEYS_MS = 600_000;
/** An unknown key, and a host that doesn't answer, are asked about again no sooner. */
const COOL_DOWN_MS = 30_000;
const FAILURE_COOL_DOWN_MS = 5000;
const MAX_KEY_SET_BYTES = 256 * 1024;
const MAX_KEY_SETS = 1000;

type KeySet = ReturnType<typeof createRemoteJWKSet>;

/** Checks JSON Web Tokens by sites' keys; keeps the key sets that it fetched. */
export class JwtVerifier {
  readonly #keySets = new Map<string, KeySet>();

  /** The payload, as it was signed; undefined if no key of the site signed it. Refusals: `claims_wrong_site`, `unavailable`. */
  async verify(site: Site, token: string): Promise<string | undefined> {
    const algorithm = algorithmOf(token);
    if (algorithm === SECRET_ALGORITHM) return this.#verifyBySecrets(site, token);
    if (site.jwt === undefined || algorithm === undefined || !PUBLIC_ALGORITHMS.includes(algorithm))
      return undefined;
    const payload = await this.#verifyByPublicKey(site.jwt, algorithm, token);
    if (payload !== undefined) mustBeMeant(payload, site.jwt);
    return payload;
  }

  async #verifyBySecrets({ claimKeys }: Site, token: string): Promise<string | undefined> {
    let found: string | undefined;
    for (const { secret } of claimKeys) {
      found ??= await payloadOf(() =>
        compactVerify(token, Buffer.from(secret), { algorithms: [SECRET_ALGORITHM] }),
      );
    }
    return found;
  }

  #verifyByPublicKey(
    { publicKey, jwksUrl }: JwtIssuer,
    algorithm: string,
    token: string,
  ): Promise<string | undefined> {
    const options = { algorithms: [algorithm] };
    if (publicKey !== undefined)
      return payloadOf(async () => compactVerify(token, await importSPKI(publicKey, algorithm), options));
    return payloadOf(() => verifyByAny(token, this.#keySet(jwksUrl as string), options));
  }

  #keySet(url: string): KeySet {
    let keySet = this.#keySets.get(url);
    if (keySet === undefined) {
      keySet = createRemoteJWKSet(new URL(url), {
        timeoutDuration: FETCH_WITHIN_MS,
        cooldownDuration: COOL_DOWN_MS,
        cacheMaxAge: KEEP_KEYS_MS,
        [customFetch]: boundedFetch(),
      });
      this.#keySets.set(url, keySet);
      if (this.#keySets.size > MAX_KEY_SETS)
        this.#keySets.delete(this.#keySets.keys().next().value as string);
    }
    return keySet;
  }
}

/** Where the token names no key and several fit, each is tried. */
async function verifyByAny(
  token: string,
  keySet: KeySet,
  options: { readonly algorithms: string[] },
): Promise<{ readonly payload: Uint8Array }> {
  try {
    return await compactVerify(token, keySet, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      const verified = await compactVerify(token, key, options).catch(() => undefined);
      if (verified) return verified;
    }
    throw error;
  }
}

function algorithmOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).alg;
  } catch {
    return undefined;
  }
}

/** Whatever the library finds wrong with a token is the sender's; that keys can't be had is not. */
async function payloadOf(
  verify: () => Promise<{ readonly payload: Uint8Array }>,
): Promise<string | undefined> {
  let payload: Uint8Array;
  try {
    ({ payload } = await verify());
  } catch (error) {
    if (
      error instanceof KeysAway ||
      error instanceof errors.JWKSTimeout ||
      error instanceof errors.JWKSInvalid
    ) {
      throw new Refusal(
        'unavailable',
        'The keys of the site’s tokens can’t be read right now.',
        { retryAfter: FAILURE_COOL_DOWN_MS / 1000 },
        { cause: error },
      );
    }
    return undefined;
  }
  return utf8(payload);
}

/** [spec] RFC 7519, 4.1.1 and 4.1.3: `iss`, and `aud` as a text or a list. */
function mustBeMeant(payload: string, { issuer, audience }: JwtIssuer): void {
  const { iss, aud } = claimsIn(payload);
  if (issuer !== undefined && iss !== issuer)
    throw new Refusal('claims_wrong_site', 'iss isn’t the issuer of this site’s tokens.', { field: 'iss' });
  if (audience !== undefined && !(Array.isArray(aud) ? aud : [aud]).includes(audience))
    throw new Refusal('claims_wrong_site', 'aud doesn’t name this site’s audience.', { field: 'aud' });
}

/** What is no JSON object has neither, and is refused as malformed where it is read. */
function claimsIn(payload: string): { iss?: unknown; aud?: unknown } {
  try {
    return (JSON.parse(payload) as { iss?: unknown; aud?: unknown } | null) ?? {};
  } catch {
    return {};
  }
}

class KeysAway extends Error {}

/** Fetches at most so many bytes, and not at all for a while after it failed. */
function boundedFetch() {
  let failedAt = Number.NEGATIVE_INFINITY;
  return async (url: string, options: RequestInit): Promise<Response> => {
    if (performance.now() - failedAt < FAILURE_COOL_DOWN_MS) throw new KeysAway('the key set was away');
    try {
      const res = await fetch(url, options);
      if (res.status !== 200) throw new KeysAway(`the key set’s status is ${res.status}`);
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of res.body ?? []) {
        bytes += (chunk as Uint8Array).length;
        if (bytes > MAX_KEY_SET_BYTES) throw new KeysAway('the key set is too large');
        chunks.push(chunk as Uint8Array);
      }
      const text = Buffer.concat(chunks).toString();
      JSON.parse(text);
      return new Response(text, { status: 200 });
    } catch (error) {
      failedAt = performance.now();
      throw error instanceof KeysAway
        ? error
        : new KeysAway('the key set can’t be fetched', { cause: error });
    }
  };
}
