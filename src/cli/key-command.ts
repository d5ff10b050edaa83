import { type ApiKey, parseKeyDraft, SCOPES } from '../chat/api-keys.ts';
import { parseSiteName } from '../chat/sites.ts';
import { keyAddress } from '../log/api-keys.ts';
import { StartError } from '../log/start-error.ts';
import { KEY_OPTIONS, listOf, misused, readArguments } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, tellTo } from './io.ts';
import { openBooks } from './open-books.ts';

/** `throughline key add|list|revoke`: the keys that hosts' servers are let in with. */
export async function keyCommand(io: Io, args: readonly string[]): Promise<void> {
  const { positionals, values } = readArguments(args, KEY_OPTIONS, USAGES.key);
  const [action = '', subject, ...more] = positionals;
  const isWhole = subject !== undefined || action === 'list';
  if (!['add', 'list', 'revoke'].includes(action) || !isWhole || more.length > 0) throw misused(USAGES.key);
  const tell = tellTo(io, values.json === true);
  const books = await openBooks(io, values);
  const { apiKeys, sites } = books;
  try {
    if (action === 'list') {
      const site = subject === undefined ? undefined : parseSiteName(subject);
      for (const key of await apiKeys.list(site)) tell(key, wordsOf(key));
    } else if (action === 'add') {
      const { site } = await sites.mustGet(parseSiteName(subject));
      const scopes = listOf(values.scopes) ?? [...SCOPES];
      const { key, secret } = await apiKeys.create(
        site,
        parseKeyDraft({ name: values.name ?? 'Bot', scopes }),
      );
      tell({ ...key, secret }, `${secret}\n(shown only now; ${wordsOf(key)})`);
    } else {
      const key = await apiKeys.revoke(subject as string, (revoked) =>
        books.appenderOf(revoked.site).announce(keyAddress(revoked), 'session-end'),
      );
      if (key === undefined) throw new StartError(`There is no key ${subject}.`);
      tell({ revoked: key.id }, `${key.id} lets nobody in any more.`);
    }
  } finally {
    await books.close();
  }
}

function wordsOf({ id, site, name, scopes, createdAt }: ApiKey): string {
  return [id, site, name, scopes.join(','), new Date(createdAt).toISOString()].join('\t');
}
