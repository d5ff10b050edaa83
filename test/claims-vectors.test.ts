import { execFileSync } from 'node:child_process';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findProgram } from './proxies/programs.ts';

interface Claims {
  readonly site: string;
  readonly id: string;
  readonly name: string;
  readonly avatar?: string;
  readonly role: string;
  readonly rooms: readonly string[];
  readonly iat: number;
  readonly exp: number;
}

interface Vectors {
  readonly vectors: readonly {
    readonly name: string;
    readonly key: string;
    readonly claims: Claims;
    readonly json: string;
    readonly p: string;
    readonly signature: string;
    readonly whole: string;
  }[];
  readonly refusedKey: string;
  readonly refused: readonly {
    readonly name: string;
    readonly code: string;
    readonly at: number;
    readonly whole: string;
  }[];
}

const EXAMPLES = join(import.meta.dirname, '../examples/claims');
const DRIVERS = join(import.meta.dirname, 'claims');
const { vectors, refusedKey, refused } = JSON.parse(
  await readFile(join(EXAMPLES, 'vectors.json'), 'utf8'),
) as Vectors;

const MAX_BYTES = 4096;
const MAX_LIFE_S = 600;
const SKEW_S = 60;

/** What the text says, or the code that it is refused with; written from the contract alone. */
function verify(whole: string, key: string, site: string, at: number): Claims | string {
  if (Buffer.byteLength(whole) > MAX_BYTES) return 'claims_too_large';
  // Here no JWT is known, whatever its algorithm.
  if (/^[\w-]+\.[\w-]+\.[\w-]*$/.test(whole)) return 'claims_forged';
  const [, p, signature] = /^([A-Za-z0-9_-]+)\.([0-9a-f]{64})$/.exec(whole) ?? [];
  if (p === undefined || signature === undefined) return 'claims_malformed';
  const wanted = createHmac('sha256', key).update(p).digest();
  if (!timingSafeEqual(wanted, Buffer.from(signature, 'hex'))) return 'claims_forged';
  const claims = parse(p);
  if (claims === undefined) return 'claims_malformed';
  if (claims.site !== site) return 'claims_wrong_site';
  if (claims.exp <= claims.iat) return 'claims_malformed';
  if (claims.exp - claims.iat > MAX_LIFE_S) return 'claims_too_long';
  if (claims.iat > at + SKEW_S) return 'claims_early';
  return claims.exp < at - SKEW_S ? 'claims_expired' : claims;
}

function parse(p: string): Claims | undefined {
  try {
    const claims = JSON.parse(Buffer.from(p, 'base64url').toString()) as Claims;
    const isWell =
      ['site', 'id', 'name'].every((name) => typeof claims[name as keyof Claims] === 'string') &&
      ['member', 'moderator', 'admin'].includes(claims.role) &&
      Array.isArray(claims.rooms) &&
      Number.isInteger(claims.iat) &&
      Number.isInteger(claims.exp);
    return isWell ? claims : undefined;
  } catch {
    return undefined;
  }
}

describe('the vectors of signed claims', () => {
  test.each(vectors)('$name: the text, p, signature and claims belong together', (vector) => {
    const { key, claims, json, p, signature, whole } = vector;
    expect(Buffer.from(json).toString('base64url')).toBe(p);
    expect(createHmac('sha256', key).update(p).digest('hex')).toBe(signature);
    expect(whole).toBe(`${p}.${signature}`);
    expect(verify(whole, key, claims.site, claims.iat)).toEqual(claims);
  });

  test.each(refused)('$name: is refused as $code', ({ code, at, whole }) => {
    expect(verify(whole, refusedKey, 'main', at)).toBe(code);
  });
});

interface Language {
  readonly name: string;
  readonly program: string;
  readonly snippet: string;
  /** What is run; it reads what to sign from its standard input. */
  run(folder: string): readonly string[];
}

const interpreted = (name: string, program: string, snippet: string, driver: string): Language => ({
  name,
  program,
  snippet,
  run: () => [program, join(DRIVERS, driver), join(EXAMPLES, snippet)],
});

const languages: Language[] = [
  interpreted('Node.js', 'node', 'throughline.mjs', 'sign.mjs'),
  interpreted('PHP', 'php', 'throughline.php', 'sign.php'),
  interpreted('Python', 'python3', 'throughline.py', 'sign.py'),
  interpreted('Ruby', 'ruby', 'throughline_helper.rb', 'sign.rb'),
  {
    name: 'Java',
    program: 'javac',
    snippet: 'ThroughlineClaims.java',
    run: (folder) => {
      const sources = [join(EXAMPLES, 'ThroughlineClaims.java'), join(DRIVERS, 'Sign.java')];
      execFileSync('javac', ['-encoding', 'UTF-8', '-d', folder, ...sources]);
      return ['java', '-cp', folder, 'Sign'];
    },
  },
];

/** A line for each: the JSON as it stands, or the claims' fields, to be put into JSON by the snippet. */
function linesOf(what: 'json' | 'claims'): string {
  const lines = vectors.map(({ key, json, claims }) => {
    const { site, id, name, avatar = '', role, rooms, iat, exp } = claims;
    const fields = what === 'json' ? [json] : [site, id, name, avatar, role, rooms.join(','), iat, exp];
    return [what, key, ...fields].join('\t');
  });
  return `${lines.join('\n')}\n`;
}

for (const { name, program, snippet, run } of languages) {
  const isMissing = findProgram(program) === undefined && process.env['CI'] !== 'true';

  test.skipIf(isMissing)(`${snippet} signs what the vectors sign, in ${name}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tl-claims-'));
    try {
      const [command, ...args] = run(folder) as [string, ...string[]];
      // Not what the machine happens to be set to: a name must come through wherever the host's site runs.
      const env = { PATH: process.env['PATH'], HOME: folder, LC_ALL: 'C' };
      const input = `${linesOf('json')}${linesOf('claims')}`;
      const signed = execFileSync(command, args, { input, env, encoding: 'utf8' }).trim().split('\n');
      expect(signed.slice(0, vectors.length)).toEqual(vectors.map(({ whole }) => whole));
      const said = signed.slice(vectors.length).map((whole, index) => {
        const { key, claims } = vectors[index] as (typeof vectors)[number];
        return verify(whole, key, claims.site, claims.iat);
      });
      expect(said).toEqual(vectors.map(({ claims }) => claims));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}
