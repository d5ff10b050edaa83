import { z } from 'zod';
import { isOneLine, lengthOf } from './text.ts';

const MAX_TITLE_CHARACTERS = 200;

/** What sites and rooms are called: one line of 200 characters at most; trimmed, in NFC. */
export const title = z
  .string('must be a string')
  .transform((title) => title.normalize('NFC').trim())
  .refine(isOneLine, 'must not have control characters, line breaks or text-direction overrides')
  .refine(
    (title) => lengthOf(title) <= MAX_TITLE_CHARACTERS,
    `must have at most ${MAX_TITLE_CHARACTERS} characters`,
  );
