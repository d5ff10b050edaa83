import { z } from 'zod';
import { parse } from './parsing.ts';
import { slug } from './slugs.ts';
import { isOneLine } from './text.ts';
import { displayName } from './users.ts';

/** What a host's server wants to vouch for: who somebody is, what they may do and where, and for how long. */
export interface ClaimsDraft {
  readonly id: string;
  readonly name: string;
  readonly avatar?: string | undefined;
  readonly role: 'member' | 'moderator' | 'admin';
  /** Names of rooms, or `*` for all. */
  readonly rooms: readonly string[];
  /** In seconds. */
  readonly ttl: number;
}

const MAX_TTL_S = 600;
const MAX_ROOMS = 50;
const MAX_AVATAR_CHARACTERS = 1000;

/** A user of the host's own: never the form of a guest's id, nor of what a host's server posts as. */
export const hostUserId = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(128, 'must have at most 128 characters')
  .refine(isOneLine, 'must not have control characters, line breaks or text-direction overrides')
  .refine((id) => !/^(guest-|bot:|system$)/.test(id), 'must not be system, nor begin with guest- or bot:');

const claimsDraft = z.strictObject({
  id: hostUserId,
  name: displayName,
  avatar: z
    .string('must be a string')
    .max(MAX_AVATAR_CHARACTERS, `must have at most ${MAX_AVATAR_CHARACTERS} characters`)
    .refine(isPicture, 'must be an https:// URL or a path')
    .optional(),
  role: z.enum(['member', 'moderator', 'admin'], 'must be member, moderator or admin').default('member'),
  rooms: z
    .array(z.union([slug, z.literal('*')]), 'must be a list of rooms')
    .min(1, 'must name at least one')
    .max(MAX_ROOMS, `must name at most ${MAX_ROOMS}`)
    .default(['*']),
  ttl: z.coerce
    .number('must be a number of seconds')
    .int('must be whole seconds')
    .min(1, 'must be at least 1')
    .max(MAX_TTL_S, `must be at most ${MAX_TTL_S}`)
    .default(MAX_TTL_S),
  site: z.string().optional(),
});

/** Reads `{id, name, role?, rooms?, avatar?, ttl?}`, of a form the lists of which are `a,b`. Refusal: `invalid_field`. */
export function parseClaimsDraft(body: unknown): ClaimsDraft {
  const { site: _, ...draft } = parse(claimsDraft, withLists(body, ['rooms']));
  return draft;
}

/** Fields of an urlencoded body that are lists come as text: `a,b`. */
export function withLists(body: unknown, names: readonly string[]): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const isList = ([name, value]: [string, unknown]) => names.includes(name) && typeof value === 'string';
  return Object.fromEntries(
    Object.entries(body).map((field) =>
      isList(field) ? [field[0], (field[1] as string).split(',').filter((item) => item !== '')] : field,
    ),
  );
}

function isPicture(text: string): boolean {
  if (/^\/(?![/\\])/.test(text)) return true;
  return /^https:\/\/\S+$/.test(text) && URL.canParse(text);
}
