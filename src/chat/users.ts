import { z } from 'zod';
import { parse } from './parsing.ts';
import { isOneLine, lengthOf } from './text.ts';

/** Somebody who talks. `id` is unique in the site and is never shown as a name. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly guest: boolean;
  /** Nobody who reads: the host's own server posts so. */
  readonly bot?: true;
}

const MAX_NAME_CHARACTERS = 40;

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

const guestLogIn = z.strictObject({
  name: displayName,
  formToken: z.string().optional(),
  site: z.string().optional(),
});

/** Reads the log-in of a guest, `{name}`. Refusal: `invalid_field`. */
export function parseGuestLogIn(body: unknown): { name: string } {
  return parse(guestLogIn, body);
}

const hostUser = z.object({
  id: z.string().min(1, 'must not be empty').max(128, 'must have at most 128 characters').refine(isOneLine),
  name: displayName,
});

/** Reads what a host application's `user:` hook answered. Throws a TypeError: it is the host's bug. */
export function parseHostUser(value: unknown): User {
  const result = hostUser.safeParse(value);
  if (result.success) return { id: result.data.id, name: result.data.name, guest: false };
  const issue = result.error.issues[0];
  throw new TypeError(`the user hook's answer: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

/**
 * The form in which names are compared: NFKC, case folded, without characters that can't be seen.
 * Upper-casing first folds what lower-casing alone keeps apart (ß and ss, σ and ς).
 */
export function foldName(name: string): string {
  return name
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/\s+/gu, ' ')
    .trim();
}
