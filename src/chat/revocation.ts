import { z } from 'zod';
import { SKEW_S } from './claims.ts';
import { parse } from './parsing.ts';
import { Refusal } from './refusals.ts';

const revocation = z.object({
  at: z.coerce.number('must be whole seconds since 1970').int('must be whole seconds since 1970').optional(),
});

/**
 * Reads `{at?}`, at a time in seconds since 1970: when it is by the host's own clock, by which its claims are dated.
 * Refusal: `invalid_field`.
 */
export function parseRevocation(body: unknown, nowS: number): number | undefined {
  const { at } = parse(revocation, body);
  if (at !== undefined && at > nowS + SKEW_S)
    throw new Refusal(
      'invalid_field',
      `at lies in the future: it is ${Math.floor(nowS)} here, in seconds since 1970.`,
      {
        field: 'at',
      },
    );
  return at;
}
