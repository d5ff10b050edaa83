import type { z } from 'zod';
import { Refusal } from './refusals.ts';

/** Reads outside data by a schema; throws the refusal `invalid_field`, naming the first field that is wrong. */
export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const unknownKey = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const field = unknownKey ?? issue?.path.join('.') ?? '';
  const message = unknownKey === undefined ? (issue?.message ?? 'is not valid') : 'is not known here';
  throw new Refusal('invalid_field', field === '' ? `The body ${message}.` : `${field} ${message}.`, {
    field,
  });
}
