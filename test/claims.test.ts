import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseSite, type Site } from '../src/chat/sites.ts';
import { verifyClaims } from '../src/http/verify-claims.ts';
import { JwtVerifier } from '../src/http/verify-jwt.ts';
import { KEY, nowS, said, sign } from './support/claims.ts';

const OTHER_KEY = 'clk_Vf-XskmnEi6-yaP_dAcgoTV2YZ0Keq80InkSq2Xcbq4';
const key = (secret: string) => ({ id: secret.slice(4, 10), secret, createdAt: 1 });
const site = (more: object = {}): Site => parseSite({ site: 'main', claimKeys: [key(KEY)], ...more });
const verify = (text: string, at = site()) => verifyClaims(at, text, new JwtVerifier());
const refusal = (code: string, field?: string) =>
  expect.objectContaining({ code, ...(field !== undefined && { details: { field } }) });
const base64url = (value: object | string) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

describe('claims', () => {
  test('say who somebody is, and where they may talk', async () => {
    expect(await verify(sign(said()))).toEqual({
      user: { id: '42', name: 'Ada', guest: false },
      rooms: undefined,
      iat: expect.any(Number),
    });
    const more = {
      role: 'moderator',
      rooms: ['lobby', 'den'],
      avatar: 'https://www.example.org/42.png',
      extra: 1,
    };
    expect(await verify(sign(said(more)))).toMatchObject({
      user: { id: '42', role: 'moderator', avatar: more.avatar },
      rooms: ['lobby', 'den'],
    });
  });

  test('may be signed with either of two keys, so that one can take the other’s place', async () => {
    const both = site({ claimKeys: [key(OTHER_KEY), key(KEY)] });
    await verify(sign(said()), both);
    await verify(sign(said(), OTHER_KEY), both);
    await expect(verify(sign(said(), OTHER_KEY))).rejects.toEqual(refusal('claims_forged', 'claims'));
  });

  test('may have names that are unfit for one line or too long, whose bearers can’t help it', async () => {
    const name = async (text: string) => (await verify(sign(said({ name: text })))).user.name;
    expect(await name(' a\u2028b\r\n\u202ec ')).toBe('a b c');
    expect(await name('x'.repeat(50))).toBe(`${'x'.repeat(39)}…`);
  });

  const NOW = nowS();
  test.each([
    ['', 'claims_malformed', 'claims'],
    ['a', 'claims_malformed', 'claims'],
    ['a.b', 'claims_malformed', 'claims'],
    [`${base64url(said())}=.${'0'.repeat(64)}`, 'claims_malformed', 'claims'],
    [`${sign(said())}\n`, 'claims_malformed', 'claims'],
    [sign(said()).slice(0, -1), 'claims_malformed', 'claims'],
    [sign(said()).replace(/.$/, (c) => (c === '0' ? '1' : '0')), 'claims_forged', 'claims'],
    [`${base64url(said({ role: 'admin' }))}.${sign(said()).split('.')[1]}`, 'claims_forged', 'claims'],
    [`${base64url(said())}.${'0'.repeat(64)}`, 'claims_forged', 'claims'],
    [sign(said(), ''), 'claims_forged', 'claims'],
    [sign(said({ avatar: `/${'x'.repeat(5000)}` })), 'claims_too_large', 'claims'],
    [sign('hello'), 'claims_malformed', undefined],
    [sign('[]'), 'claims_malformed', undefined],
    [sign('null'), 'claims_malformed', undefined],
    [sign(said({ id: 42 })), 'claims_malformed', 'id'],
    [sign(said({ id: undefined })), 'claims_malformed', 'id'],
    [sign(said({ id: '' })), 'claims_malformed', 'id'],
    [sign(said({ id: 'x'.repeat(129) })), 'claims_malformed', 'id'],
    [sign(said({ id: 'a\nb' })), 'claims_malformed', 'id'],
    [sign(said({ id: 'guest-abcdefghijkl' })), 'claims_malformed', 'id'],
    [sign(said({ name: '\u200b' })), 'claims_malformed', 'name'],
    [sign(said({ name: undefined })), 'claims_malformed', 'name'],
    [sign(said({ role: 'root' })), 'claims_malformed', 'role'],
    [sign(said({ role: undefined })), 'claims_malformed', 'role'],
    [sign(said({ rooms: '*' })), 'claims_malformed', 'rooms'],
    [sign(said({ rooms: undefined })), 'claims_malformed', 'rooms'],
    [sign(said({ rooms: ['*', 'lobby'] })), 'claims_malformed', 'rooms'],
    [sign(said({ rooms: ['../x'] })), 'claims_malformed', 'rooms.0'],
    [sign(said({ avatar: 'javascript:alert(1)' })), 'claims_malformed', 'avatar'],
    [sign(said({ avatar: '//evil.example/x.png' })), 'claims_malformed', 'avatar'],
    [sign(said({ avatar: '/\\evil.example/x.png' })), 'claims_malformed', 'avatar'],
    [sign(said({ avatar: 'http://example.org/x.png' })), 'claims_malformed', 'avatar'],
    [sign(said({ iat: String(NOW) })), 'claims_malformed', 'iat'],
    [sign(said({ exp: NOW + 0.5 })), 'claims_malformed', 'exp'],
    [sign(said({ exp: undefined })), 'claims_malformed', 'exp'],
    [sign(said({ iat: NOW + 30, exp: NOW - 30 })), 'claims_malformed', 'exp'],
    [sign(said({ iat: NOW, exp: NOW })), 'claims_malformed', 'exp'],
    [sign(said({ site: 'shop' })), 'claims_wrong_site', 'site'],
    [sign(said({ site: undefined })), 'claims_malformed', 'site'],
    [sign(said({ exp: NOW + 100_000 })), 'claims_too_long', 'exp'],
    [sign(said({ iat: NOW + 120, exp: NOW + 180 })), 'claims_early', 'iat'],
    [sign(said({ iat: NOW * 1000, exp: NOW * 1000 + 600 })), 'claims_early', 'iat'],
    [sign(said({ iat: NOW - 600, exp: NOW - 120 })), 'claims_expired', 'exp'],
  ])('%# are refused: %j as %s', async (text, code, field) => {
    await expect(verify(text)).rejects.toEqual(refusal(code, field));
  });

  test('that aren’t UTF-8 are refused, lest different ids become the same', async () => {
    const json = Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    const p = json.toString('base64url');
    const text = `${p}.${createHmac('sha256', KEY).update(p).digest('hex')}`;
    await expect(verify(text)).rejects.toEqual(refusal('claims_malformed'));
  });

  test('of a clock that is up to a minute off are taken', async () => {
    const iat = nowS() + 50;
    await verify(sign(said({ iat, exp: iat + 600 })));
    await verify(sign(said({ iat: nowS() - 640, exp: nowS() - 50 })));
  });

  test('that nobody signed are told nothing of what is in them', async () => {
    const messages = new Set<string>();
    for (const claims of [said(), said({ site: 'shop' }), said({ exp: 1 }), 'hello']) {
      const error = await verify(sign(claims, OTHER_KEY)).catch((thrown: Error) => thrown);
      messages.add((error as Error).message);
    }
    expect(messages.size).toBe(1);
  });

  const VECTORS = new URL('../examples/claims/vectors.json', import.meta.url);
  test.runIf(existsSync(VECTORS))('are taken and refused as the vectors for integrators say', async () => {
    const { vectors, refused, refusedKey } = JSON.parse(readFileSync(VECTORS, 'utf8'));
    try {
      for (const { whole, key: secret, claims } of vectors) {
        vi.setSystemTime(claims.iat * 1000);
        const at = parseSite({ site: claims.site, claimKeys: [key(secret)] });
        expect((await verify(whole, at)).user.id).toBe(claims.id);
      }
      for (const { name, whole, code, at } of refused) {
        vi.setSystemTime(at * 1000);
        const error = await verify(whole, site({ claimKeys: [key(refusedKey)] })).catch((thrown) => thrown);
        expect([name, error.code]).toEqual([name, code]);
      }
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('JSON Web Tokens', () => {
  let pairs: Record<'RS256' | 'ES256', { publicKey: CryptoKey; privateKey: CryptoKey }>;
  let jwks: Server;
  let keySet: object = { keys: [] };
  let answer: { status: number; body?: string } | undefined;
  let fetches = 0;
  let jwksUrl: string;
  beforeAll(async () => {
    pairs = { RS256: await generateKeyPair('RS256'), ES256: await generateKeyPair('ES256') };
    jwks = createServer((_req, res) => {
      fetches++;
      res.writeHead(answer?.status ?? 200).end(answer?.body ?? JSON.stringify(keySet));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => jwks.once('listening', resolve));
    jwksUrl = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/keys`;
    const jwk = async (alg: 'RS256' | 'ES256') => ({
      ...(await exportJWK(pairs[alg].publicKey)),
      kid: alg,
      alg,
    });
    keySet = { keys: [await jwk('RS256'), await jwk('ES256')] };
  });
  afterAll(() => void jwks.close());

  const jwt = (claims: object, alg: string, by: CryptoKey | Uint8Array, header: object = {}) =>
    new SignJWT({ ...claims } as Record<string, unknown>).setProtectedHeader({ alg, ...header }).sign(by);
  const secret = Buffer.from(KEY);

  test('are taken with HS256 and a claim key, `sub` being the id', async () => {
    const { id: sub, ...claims } = said() as { id: string };
    expect((await verify(await jwt({ ...claims, sub }, 'HS256', secret))).user.id).toBe('42');
  });

  test.each(['RS256', 'ES256'] as const)('are taken with %s and the site’s public key', async (alg) => {
    const publicKey = await exportSPKI(pairs[alg].publicKey);
    const at = site({ jwt: { publicKey } });
    expect((await verify(await jwt(said(), alg, pairs[alg].privateKey), at)).user.id).toBe('42');
    const stranger = await generateKeyPair(alg);
    await expect(verify(await jwt(said(), alg, stranger.privateKey), at)).rejects.toEqual(
      refusal('claims_forged', 'claims'),
    );
    await expect(verify(await jwt(said(), alg, pairs[alg].privateKey))).rejects.toEqual(
      refusal('claims_forged', 'claims'),
    );
  });

  test('that name no key are taken with whichever of a key set’s fits', async () => {
    const [old, stranger] = [await generateKeyPair('RS256'), await generateKeyPair('RS256')];
    const whole = keySet;
    const second = { ...(await exportJWK(old.publicKey)), kid: 'old', alg: 'RS256' };
    keySet = { keys: [...(whole as { keys: object[] }).keys, second] };
    try {
      const at = site({ jwt: { jwksUrl } });
      for (const { privateKey } of [pairs.RS256, old])
        expect((await verify(await jwt(said(), 'RS256', privateKey), at)).user.id).toBe('42');
      await expect(verify(await jwt(said(), 'RS256', stranger.privateKey), at)).rejects.toEqual(
        refusal('claims_forged', 'claims'),
      );
    } finally {
      keySet = whole;
    }
  });

  test.each(['RS256', 'ES256'] as const)('are taken with %s and a key set, fetched once', async (alg) => {
    const at = site({ jwt: { jwksUrl } });
    const verifier = new JwtVerifier();
    const token = await jwt(said(), alg, pairs[alg].privateKey, { kid: alg });
    fetches = 0;
    await Promise.all([1, 2, 3].map(() => verifyClaims(at, token, verifier)));
    for (const kid of ['a', 'b', 'c']) {
      const unknown = await jwt(said(), alg, pairs[alg].privateKey, { kid });
      await expect(verifyClaims(at, unknown, verifier)).rejects.toEqual(refusal('claims_forged', 'claims'));
    }
    expect(fetches).toBe(1);
  });

  test('whose keys can’t be had are refused for now, and the keys not asked for again at once', async () => {
    const at = site({ jwt: { jwksUrl } });
    const token = await jwt(said(), 'RS256', pairs.RS256.privateKey, { kid: 'RS256' });
    for (const faulty of [
      { status: 500 },
      { status: 302 },
      { status: 200, body: 'no JSON' },
      { status: 200, body: '{}' },
      { status: 200, body: JSON.stringify({ keys: ['x'.repeat(300_000)] }) },
    ]) {
      answer = faulty;
      fetches = 0;
      const verifier = new JwtVerifier();
      for (let i = 0; i < 3; i++)
        await expect(verifyClaims(at, token, verifier)).rejects.toMatchObject({ code: 'unavailable' });
      if (faulty.body !== '{}') expect(fetches).toBe(1);
    }
    answer = undefined;
  });

  test('without an algorithm, or with a public key taken for a secret, are forged', async () => {
    const publicKey = await exportSPKI(pairs.RS256.publicKey);
    const at = site({ jwt: { publicKey } });
    const none = `${base64url({ alg: 'none' })}.${base64url(said())}.`;
    const confused = await jwt(said(), 'HS256', Buffer.from(publicKey));
    const hmacAsRsa = `${base64url({ alg: 'RS256' })}.${base64url(said())}`;
    const signedAsRsa = `${hmacAsRsa}.${createHmac('sha256', KEY).update(hmacAsRsa).digest('base64url')}`;
    const critical = await jwt(said(), 'HS256', secret, { crit: ['x'], x: 1 }).catch(() => none);
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = await jwt(said(), 'PS256', privateKey as unknown as CryptoKey).catch(() => none);
    for (const token of [
      none,
      none.replace('.ey', '.eX'),
      confused,
      signedAsRsa,
      critical,
      other,
      `${none}AAAA`,
    ])
      await expect(verify(token, at)).rejects.toEqual(refusal('claims_forged', 'claims'));
    const strong = await jwt(said(), 'HS512', randomBytes(64));
    await expect(verify(strong, at)).rejects.toEqual(refusal('claims_forged', 'claims'));
  });

  test('must be for this issuer and audience, where the site names them', async () => {
    const publicKey = await exportSPKI(pairs.ES256.publicKey);
    const at = site({ jwt: { publicKey, issuer: 'https://id.example.org', audience: 'chat' } });
    const token = (more: object) => jwt(said(more), 'ES256', pairs.ES256.privateKey);
    const good = { iss: 'https://id.example.org', aud: ['shop', 'chat'] };
    await verify(await token(good), at);
    await expect(verify(await token({ ...good, iss: 'x' }), at)).rejects.toEqual(
      refusal('claims_wrong_site', 'iss'),
    );
    await expect(verify(await token({ iss: good.iss, aud: 'shop' }), at)).rejects.toEqual(
      refusal('claims_wrong_site', 'aud'),
    );
    const later = await token({ ...good, nbf: nowS() + 100 });
    await expect(verify(later, at)).rejects.toEqual(refusal('claims_early', 'nbf'));
    const expired = await token({ ...good, iat: nowS() - 600, exp: nowS() - 100 });
    await expect(verify(expired, at)).rejects.toEqual(refusal('claims_expired', 'exp'));
  });

  test('are of no site that has both kinds of key, a private one, or keys over plain HTTP', async () => {
    const publicKey = await exportSPKI(pairs.ES256.publicKey);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
    for (const wrong of [
      {},
      { publicKey, jwksUrl: 'https://id.example.org/keys' },
      { publicKey: pem },
      { publicKey: 'x' },
      { jwksUrl: 'http://id.example.org/keys' },
      { jwksUrl: 'file:///etc/passwd' },
    ])
      expect(() => site({ jwt: wrong })).toThrow(expect.objectContaining({ code: 'invalid_field' }));
  });
});
