import { z } from 'zod';
import { parse } from './parsing.ts';
import type { SiteName } from './sites.ts';
import { displayName } from './users.ts';

/** What an API key may be good for: each a group of routes. */
export const SCOPES = ['post', 'rooms', 'history', 'revoke', 'tokens'] as const;

export type Scope = (typeof SCOPES)[number];

/** A key by which a host's own server is let in, without its secret. */
export interface ApiKey {
  readonly id: string;
  readonly site: SiteName;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

const keyDraft = z.strictObject({
  name: displayName,
  scopes: z
    .array(z.enum(SCOPES, `must be of ${SCOPES.join(', ')}`))
    .min(1, 'must name at least one')
    .transform((scopes) => SCOPES.filter((scope) => scopes.includes(scope))),
});

/** Reads `{name, scopes}`; a bot that posts with the key bears its name unless told otherwise. Refusal: `invalid_field`. */
export function parseKeyDraft(value: unknown): Pick<ApiKey, 'name' | 'scopes'> {
  return parse(keyDraft, value);
}

/** The id and the secret in `tlk_<id>_<secret>`; undefined for what isn't one. */
export function partsOfKey(text: string): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = /^tlk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}
