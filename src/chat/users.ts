import { z } from 'zod';
import { parse } from './parsing.ts';
import { asOneLine, isOneLine, lengthOf } from './text.ts';

/** Somebody who talks. `id` is unique in the site and is never shown as a name. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly guest: boolean;
  /** An https URL, or a path of the page's own origin. */
  readonly avatar?: string;
  /** Absent for a member. */
  readonly role?: 'moderator' | 'admin';
  /** Nobody who reads: the host's own server posts so. */
  readonly bot?: true;
}

export const ROLES = ['member', 'moderator', 'admin'] as const;

export type Role = (typeof ROLES)[number];

const MAX_NAME_CHARACTERS = 40;
const MAX_ID_CHARACTERS = 128;
const MAX_AVATAR_CHARACTERS = 1000;

/** A display name of 1 to 40 characters, without controls, line ends or bidi overrides; trimmed, in NFC. */
export const displayName = z
  .string('must be a string')
  .transform((name) => name.normalize('NFC').trim())
  .refine(isOneLine, 'must not have control characters, line breaks or text-direction overrides')
  .refine((name) => foldName(name) !== '', 'must have at least one visible character')
  .refine(
    (name) => lengthOf(name) <= MAX_NAME_CHARACTERS,
    `must have at most ${MAX_NAME_CHARACTERS} characters`,
  );

/**
 * The name of somebody whom a host site vouches for, who can't type another: what is unfit for one line becomes a
 * blank, and what is too long is cut.
 */
export const vouchedName = z
  .string('must be a string')
  .transform((name) => cut(asOneLine(name.normalize('NFC')).replace(/\s+/gu, ' ').trim()))
  .refine((name) => foldName(name) !== '', 'must have at least one visible character');

/** An https URL, or a path: `javascript:` and the like load nothing, and `//host` would be another origin. */
export const avatarUrl = z
  .string('must be a string')
  .max(MAX_AVATAR_CHARACTERS, `must have at most ${MAX_AVATAR_CHARACTERS} characters`)
  .refine(isAvatar, 'must be an https:// URL or a path that begins with one slash');

export const role = z.enum(ROLES, `must be ${ROLES.join(', ')}`);

/** How guests' ids begin, and those of nobody else. */
const GUEST_ID = 'guest-';
/** Whom a host's own server posts as. */
const SYSTEM_ID = 'system';
const BOT_ID = 'bot:';
/** Whoever reads with an API key. */
const KEY_ID = 'key:';

/** What only a host site's users may be called by. */
export const vouchedId = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_ID_CHARACTERS, `must have at most ${MAX_ID_CHARACTERS} characters`)
  .refine(isOneLine, 'must have printable characters only')
  .refine(
    (id) => id !== SYSTEM_ID && ![GUEST_ID, BOT_ID, KEY_ID].some((prefix) => id.startsWith(prefix)),
    `must not be ${SYSTEM_ID}, nor begin with ${GUEST_ID}, ${BOT_ID} or ${KEY_ID}`,
  );

const guestLogIn = z.strictObject({
  name: displayName,
  formToken: z.string().optional(),
  site: z.string().optional(),
});

/** A guest of that name, whose id is nobody else's. */
export function newGuest(name: string, random: string): User {
  return { id: `${GUEST_ID}${random}`, name, guest: true };
}

/** What a host's own server posts as. */
export function botUser(as: 'system' | 'bot', name: string): User {
  return { id: as === 'system' ? SYSTEM_ID : `${BOT_ID}${name}`, name, guest: false, bot: true };
}

/** What reads with an API key, and is shown to nobody. */
export function keyUser(keyId: string, name: string): User {
  return { id: `${KEY_ID}${keyId}`, name, guest: false, bot: true };
}

/** A user as the wire tells of one: without what goes without saying. */
export function knownUser(user: { id: string; name: string; avatar?: string | undefined; role: Role }): User {
  const { id, name, avatar, role } = user;
  return {
    id,
    name,
    guest: false,
    ...(avatar !== undefined && { avatar }),
    ...(role !== 'member' && { role }),
  };
}

/** Reads the log-in of a guest, `{name}`. Refusal: `invalid_field`. */
export function parseGuestLogIn(body: unknown): { name: string } {
  return parse(guestLogIn, body);
}

const hostUser = z.object({
  id: vouchedId,
  name: displayName,
  avatar: avatarUrl.optional(),
  role: role.default('member'),
});

/** Reads what a host application's `user:` hook answered. Throws a TypeError: it is the host's bug. */
export function parseHostUser(value: unknown): User {
  const result = hostUser.safeParse(value);
  if (result.success) return knownUser(result.data);
  const issue = result.error.issues[0];
  throw new TypeError(`the user hook's answer: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

const anyId = z.object({
  id: z
    .string('must be a string')
    .min(1, 'must not be empty')
    .max(MAX_ID_CHARACTERS, `must have at most ${MAX_ID_CHARACTERS} characters`)
    .refine(isOneLine, 'must have printable characters only'),
});

/** Reads the id of any user, a guest's as well. Refusal: `invalid_field`. */
export function parseUserId(id: unknown): string {
  return parse(anyId, { id }).id;
}

function cut(name: string): string {
  const characters = [...name];
  if (characters.length <= MAX_NAME_CHARACTERS) return name;
  return `${characters
    .slice(0, MAX_NAME_CHARACTERS - 1)
    .join('')
    .trimEnd()}…`;
}

function isAvatar(text: string): boolean {
  if (/[\s\\\p{Cc}\p{Cs}]/u.test(text)) return false;
  if (text.startsWith('/')) return !text.startsWith('//');
  if (!/^https:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

/**
 * The form in which names are compared: NFKC, case folded, without characters that can't be seen.
 * Upper-casing first folds what lower-casing alone keeps apart (ß and ss, σ and ς), and lower-casing before that what upper-casing
 * would leave as it is (ẞ).
 */
export function foldName(name: string): string {
  return name
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/\s+/gu, ' ')
    .trim();
}
