import { z } from 'zod';
import { type Draft, parseDraft } from './messages.ts';
import { parse } from './parsing.ts';
import { botUser, displayName, type User } from './users.ts';

const speaker = z.object({
  as: z.enum(['system', 'bot'], 'must be system or bot').default('bot'),
  name: displayName.optional(),
});

/**
 * Reads `{text, as?, name?, clientId?}`: what a host's server posts, and as whom; a bot without a name bears `keyName`.
 * `idempotencyKey` is the header that is an alias of `clientId`. Refusal: `invalid_field`.
 */
export function parseHostPost(
  body: unknown,
  keyName: string,
  idempotencyKey?: string,
): { readonly by: User; readonly draft: Draft } {
  const { as, name, ...rest } = parse(speaker.loose(), body);
  const draft = parseDraft(rest, idempotencyKey);
  const shown = name ?? (as === 'system' ? 'System' : keyName);
  return { by: botUser(as, shown), draft };
}
