import { z } from 'zod';
import { parse } from './parsing.ts';
import { Refusal } from './refusals.ts';
import type { RoomName } from './rooms.ts';
import type { SiteName } from './sites.ts';
import { slug } from './slugs.ts';
import { avatarUrl, knownUser, role, type User, vouchedId, vouchedName } from './users.ts';

/** The rooms of its site that somebody may read and write in; undefined: all of them. */
export type OpenRooms = readonly RoomName[] | undefined;

/** What a host site says of one of its users. */
export interface Claims {
  readonly user: User;
  readonly rooms: OpenRooms;
  /** When it was said, in seconds since 1970. */
  readonly iat: number;
}

/** Whole claims, signature included. */
export const MAX_CLAIMS_BYTES = 4096;
/** From `iat` to `exp`, in seconds. */
export const MAX_CLAIMS_LIFE_S = 600;
/** So far the host's clock may be off. */
export const SKEW_S = 60;
const MAX_ROOMS = 200;
const ALL_ROOMS = '*';

const seconds = z.int('must be whole seconds since 1970').nonnegative('must be whole seconds since 1970');

/** Names of rooms, or `*` alone for all. */
export const roomList = z
  .array(
    z.union([z.literal(ALL_ROOMS), slug], 'must name rooms, or be "*"'),
    'must be a list of rooms, or ["*"]',
  )
  .max(MAX_ROOMS, `must be at most ${MAX_ROOMS}`)
  .refine((list) => !list.includes(ALL_ROOMS) || list.length === 1, 'must be ["*"] or a list of rooms');

const rooms = roomList.transform(
  (list): OpenRooms => (list[0] === ALL_ROOMS ? undefined : (list as string[] as RoomName[])),
);

const claims = z.object({
  site: z.string('must be a string'),
  id: vouchedId,
  name: vouchedName,
  avatar: avatarUrl.optional(),
  role,
  rooms,
  iat: seconds,
  exp: seconds,
  /** [spec] RFC 7519, 4.1.5: not to be accepted before. */
  nbf: z.number().optional(),
});

/**
 * Reads what was signed, at a time in seconds since 1970. It must be known by then who signed it: what is wrong is told
 * in full. Refusals: `claims_malformed`, `claims_wrong_site`, `claims_too_long`, `claims_early`, `claims_expired`.
 */
export function parseClaims(json: string, site: SiteName, nowS: number): Claims {
  const said = read(json);
  const { iat, exp, nbf } = said;
  if (said.site !== site)
    throw new Refusal(
      'claims_wrong_site',
      `The claims are for the site ${said.site.slice(0, 64)}, and this is ${site}.`,
      { field: 'site' },
    );
  if (exp <= iat) throw new Refusal('claims_malformed', 'exp must be after iat.', { field: 'exp' });
  if (exp - iat > MAX_CLAIMS_LIFE_S)
    throw new Refusal('claims_too_long', `exp may be at most ${MAX_CLAIMS_LIFE_S} seconds after iat.`, {
      field: 'exp',
    });
  if (iat > nowS + SKEW_S || (nbf ?? 0) > nowS + SKEW_S)
    throw new Refusal(
      'claims_early',
      `iat lies in the future: it is ${Math.floor(nowS)} here, in seconds since 1970.`,
      { field: iat > nowS + SKEW_S ? 'iat' : 'nbf' },
    );
  if (exp < nowS - SKEW_S)
    throw new Refusal(
      'claims_expired',
      `exp has passed: it is ${Math.floor(nowS)} here, in seconds since 1970.`,
      { field: 'exp' },
    );
  return { user: knownUser(said), rooms: said.rooms, iat };
}

function read(json: string): z.infer<typeof claims> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new Refusal('claims_malformed', 'What is signed is no JSON in UTF-8.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal('claims_malformed', 'What is signed is no JSON object.');
  // [spec] RFC 7519, 4.1.2: in JSON Web Tokens `sub` is who it is about.
  const { sub } = value as { sub?: unknown };
  const result = claims.safeParse('id' in value ? value : { ...value, id: sub });
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join('.') ?? '';
  throw new Refusal('claims_malformed', `${field} ${issue?.message ?? 'is not valid'}.`, { field });
}

const exchange = z.strictObject({
  claims: z.string('must be a string'),
  token: z.literal('1', 'must be 1').optional(),
  formToken: z.string().optional(),
  site: z.string().optional(),
});

/** A log-in by claims: for a cookie, or for a token. */
export interface Exchange {
  readonly claims: string;
  readonly wantsToken: boolean;
}

/** Reads the log-in of a host's user, `{claims, token?}`; undefined for one of another kind. Refusal: `invalid_field`. */
export function parseExchange(body: unknown): Exchange | undefined {
  if (typeof body !== 'object' || body === null || !('claims' in body)) return undefined;
  const { claims, token } = parse(exchange, body);
  return { claims, wantsToken: token !== undefined };
}

/** The rooms as they stand in claims. */
export function listedRooms(rooms: OpenRooms): readonly string[] {
  return rooms ?? [ALL_ROOMS];
}
