import { z } from 'zod';
import { MAX_CLAIMS_LIFE_S, roomList } from './claims.ts';
import { parse } from './parsing.ts';
import { avatarUrl, type Role, role, vouchedId, vouchedName } from './users.ts';

/** What a host's server wants to vouch for: who somebody is, what they may do and where, and for how long. */
export interface ClaimsDraft {
  readonly id: string;
  readonly name: string;
  readonly avatar?: string | undefined;
  readonly role: Role;
  /** Names of rooms, or `*` for all. */
  readonly rooms: readonly string[];
  /** In seconds. */
  readonly ttl: number;
}

const claimsDraft = z.strictObject({
  id: vouchedId,
  name: vouchedName,
  avatar: avatarUrl.optional(),
  role: role.default('member'),
  rooms: roomList.default(['*']),
  ttl: z.coerce
    .number('must be a number of seconds')
    .int('must be whole seconds')
    .min(1, 'must be at least 1')
    .max(MAX_CLAIMS_LIFE_S, `must be at most ${MAX_CLAIMS_LIFE_S}`)
    .default(MAX_CLAIMS_LIFE_S),
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
