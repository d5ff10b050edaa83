import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  type ClaimKey,
  MAIN_SITE,
  parseSite,
  parseSiteName,
  type Site,
  type SiteName,
} from '../chat/sites.ts';
import { StartError } from '../log/start-error.ts';
import { misused, readArguments, SITE_OPTIONS, STORE_OPTIONS } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, type Tell, tellTo } from './io.ts';
import { type Books, openBooks } from './open-books.ts';

/** `throughline site add|list|remove|key|jwt`: what sites there are, and who signs for them. */
export async function siteCommand(io: Io, args: readonly string[]): Promise<void> {
  if (args[0] === 'webhook') return (await import('./webhook-command.ts')).webhookCommand(io, args.slice(1));
  const { positionals, values } = readArguments(args, SITE_OPTIONS, USAGES.site);
  const [action, name, ...more] = positionals;
  if (!isAction(action) || (name === undefined) !== (action === 'list') || more.length > 0)
    throw misused(USAGES.site);
  const stranger = Object.keys(values).find(
    (flag) => !(FLAGS[action] as readonly string[]).includes(flag) && !COMMON.has(flag),
  );
  if (stranger !== undefined) throw new StartError(`site ${action} takes no --${stranger}.\n${USAGES.site}`);
  const jwt = action === 'jwt' ? await jwtOf(values) : undefined;
  const tell = tellTo(io, values.json === true);
  const books = await openBooks(io, values);
  try {
    if (action === 'list') {
      for (const site of await books.sites.all()) tell(withoutSecrets(site), wordsOf(site));
      return;
    }
    const site = parseSiteName(name);
    if (action === 'add') {
      const added = await books.sites.change(site, (known) =>
        parseSite({ ...(known ?? { site }), ...changesOf(values) }),
      );
      return tell(withoutSecrets(added), wordsOf(added));
    }
    if (action === 'remove') {
      mustBe(site, await books.sites.get(site));
      await books.sites.remove(site);
      const words = site === MAIN_SITE ? 'main is as it was at first' : `${site} is no site any more`;
      return tell({ removed: site }, `${words}; its rooms and keys stay until they are removed.`);
    }
    if (action === 'jwt') {
      const changed = await books.sites.change(site, (known) => parseSite({ ...mustBe(site, known), jwt }));
      return tell(withoutSecrets(changed), wordsOf(changed));
    }
    if (values.remove !== undefined) return await removeClaimKey(books, site, values.remove, tell);
    const key = await addClaimKey(books, site);
    tell({ site, ...key }, `${key.secret}\n(key ${key.id} of ${site}; sign claims with it)`);
  } finally {
    await books.close();
  }
}

/** What each takes beside what all do. */
const FLAGS = {
  add: ['title', 'origin', 'guests'],
  list: [],
  remove: [],
  key: ['remove'],
  jwt: ['jwks-url', 'public-key', 'issuer', 'audience', 'none'],
} as const satisfies Record<string, readonly (keyof typeof SITE_OPTIONS)[]>;

const COMMON = new Set<string>([...Object.keys(STORE_OPTIONS), 'json']);

function isAction(text: string | undefined): text is keyof typeof FLAGS {
  return text !== undefined && Object.hasOwn(FLAGS, text);
}

/** What isn't given stays as it was. */
function changesOf({
  title,
  origin,
  guests,
}: {
  title?: string;
  origin?: string[];
  guests?: string;
}): object {
  return {
    ...(title !== undefined && { title }),
    ...(origin !== undefined && { origins: origin }),
    ...(guests !== undefined && { guests }),
  };
}

interface JwtFlags {
  'jwks-url'?: string;
  'public-key'?: string;
  issuer?: string;
  audience?: string;
  none?: boolean;
}

/** Whose tokens a site takes, all of it anew; undefined: nobody's. Whether it fits together is `parseSite`'s to say. */
async function jwtOf({
  'jwks-url': jwksUrl,
  'public-key': file,
  issuer,
  audience,
  none,
}: JwtFlags): Promise<object | undefined> {
  const isGiven = [jwksUrl, file, issuer, audience].some((value) => value !== undefined);
  if (isGiven === (none === true)) throw misused(USAGES.site);
  if (none) return undefined;
  return { jwksUrl, publicKey: file === undefined ? undefined : await readPem(file), issuer, audience };
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new StartError(`--public-key can’t be read: ${(error as Error).message}.`);
  }
}

function mustBe(name: SiteName, known: Site | undefined): Site {
  if (known === undefined) throw new StartError(`There is no site ${name}.`);
  return known;
}

async function addClaimKey({ sites }: Books, name: SiteName): Promise<ClaimKey> {
  const key: ClaimKey = {
    id: randomBytes(4).toString('hex'),
    secret: `clk_${randomBytes(32).toString('base64url')}`,
    createdAt: Date.now(),
  };
  await sites.change(name, (known) => {
    const site = mustBe(name, known);
    if (site.claimKeys.length >= 2) {
      const ids = site.claimKeys.map(({ id }) => id).join(' and ');
      throw new StartError(`${name} has two keys, ${ids}: remove the one that isn’t used any more.`);
    }
    return { ...site, claimKeys: [...site.claimKeys, key] };
  });
  return key;
}

async function removeClaimKey({ sites }: Books, name: SiteName, id: string, tell: Tell): Promise<void> {
  await sites.change(name, (known) => {
    const site = mustBe(name, known);
    const claimKeys = site.claimKeys.filter((key) => key.id !== id);
    if (claimKeys.length === site.claimKeys.length)
      throw new StartError(`${name} has no key ${id}: ${site.claimKeys.map((key) => key.id).join(', ')}.`);
    return { ...site, claimKeys };
  });
  tell({ site: name, removed: id }, `What is signed with ${id} holds no longer.`);
}

function withoutSecrets({ claimKeys, ...site }: Site): object {
  return { ...site, claimKeys: claimKeys.map(({ id, createdAt }) => ({ id, createdAt })) };
}

function wordsOf({ site, title, origins, guests, claimKeys, jwt }: Site): string {
  const keys = claimKeys.map(({ id }) => id).join(',') || '-';
  const tokens = jwt ? `jwt=${jwt.jwksUrl ?? 'public key'}` : 'jwt=-';
  return [site, title ?? '-', `guests=${guests}`, `keys=${keys}`, tokens, origins.join(',') || '-'].join(
    '\t',
  );
}
