import { randomBytes } from 'node:crypto';
import {
  type ClaimKey,
  MAIN_SITE,
  parseSite,
  parseSiteName,
  type Site,
  type SiteName,
} from '../chat/sites.ts';
import { StartError } from '../log/start-error.ts';
import { misused, readArguments, SITE_OPTIONS } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, type Tell, tellTo } from './io.ts';
import { type Books, openBooks } from './open-books.ts';

/** `throughline site add|list|remove|key`: what sites there are, and what they sign with. */
export async function siteCommand(io: Io, args: readonly string[]): Promise<void> {
  if (args[0] === 'webhook') return (await import('./webhook-command.ts')).webhookCommand(io, args.slice(1));
  const { positionals, values } = readArguments(args, SITE_OPTIONS, USAGES.site);
  const [action, name, ...more] = positionals;
  if (!isAction(action) || (name === undefined) !== (action === 'list') || more.length > 0)
    throw misused(USAGES.site);
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
    if (values.remove !== undefined) return await removeClaimKey(books, site, values.remove, tell);
    const key = await addClaimKey(books, site);
    tell({ site, ...key }, `${key.secret}\n(key ${key.id} of ${site}; sign claims with it)`);
  } finally {
    await books.close();
  }
}

const ACTIONS = ['add', 'list', 'remove', 'key'] as const;

function isAction(text: string | undefined): text is (typeof ACTIONS)[number] {
  return (ACTIONS as readonly (string | undefined)[]).includes(text);
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

function wordsOf({ site, title, origins, guests, claimKeys }: Site): string {
  const keys = claimKeys.map(({ id }) => id).join(',') || '-';
  return [site, title ?? '-', `guests=${guests}`, `keys=${keys}`, origins.join(',') || '-'].join('\t');
}
