import { z } from 'zod';
import { parse } from './parsing.ts';
import { Refusal } from './refusals.ts';
import { isPlainText, lengthOf } from './text.ts';

/** What someone wants to say, before Redis gave it an id. */
export interface Draft {
  readonly text: string;
  /** The client's own key for this draft: the same again within 24 h is the same message. */
  readonly clientId?: string;
  /** The id of the user who wrote it, where that may be somebody else than who is logged in by now. */
  readonly user?: string;
}

const MAX_TEXT_CHARACTERS = 4000;

const clientId = z
  .string('must be a string')
  .regex(/^[A-Za-z0-9_-]{16,64}$/, 'must be 16 to 64 of A-Z, a-z, 0-9, _ and -');

const draft = z.strictObject({
  text: z
    .string('must be a string')
    .refine((text) => text.trim() !== '', 'must not be empty')
    .refine(
      (text) => text.length <= MAX_TEXT_CHARACTERS || lengthOf(text) <= MAX_TEXT_CHARACTERS,
      `must have at most ${MAX_TEXT_CHARACTERS} characters`,
    )
    .refine(
      isPlainText,
      'must not have control characters other than tab and line ends, nor half a surrogate pair',
    ),
  clientId: clientId.optional(),
  user: z.string('must be a string').optional(),
  formToken: z.string().optional(),
  site: z.string().optional(),
  token: z.string().optional(),
});

const keyed = z.object({ clientId });

/**
 * Reads `{text, clientId?, user?}`; `idempotencyKey` is the header that is an alias of `clientId`.
 * Refusal: `invalid_field`, also where both are given and differ.
 */
export function parseDraft(body: unknown, idempotencyKey?: string): Draft {
  const { text, clientId: inBody, user } = parse(draft, body);
  const inHeader =
    idempotencyKey === undefined ? undefined : parse(keyed, { clientId: idempotencyKey }).clientId;
  if (inBody !== undefined && inHeader !== undefined && inBody !== inHeader) {
    throw new Refusal('invalid_field', 'clientId and the Idempotency-Key header differ.', {
      field: 'clientId',
    });
  }
  const key = inBody ?? inHeader;
  return { text, ...(key !== undefined && { clientId: key }), ...(user !== undefined && { user }) };
}
