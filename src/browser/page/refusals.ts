import { Refused } from '../client.ts';
import type { Key, Words } from './strings.ts';

const KEYS: Record<string, Key> = {
  unreachable: 'off-unreachable',
  unavailable: 'off-unreachable',
  blocked: 'off-blocked',
  no_session: 'ended',
  invalid_field: 'eInvalid',
};

/**
 * What went wrong, in the reader's words. `why` is what the service itself says. Where the HTML has a sentence for the
 * refusal, it is that one; whatever is wrong with claims, only the host site can mend it.
 */
export function wordsForCode(code: string, t: Words, why = code): string {
  const sentence = document.getElementById(`why-${code.replace(/^(claims)_.*/, '$1')}`)?.textContent;
  return sentence ?? t(KEYS[code] ?? 'eOther', { why });
}

/** The same for whatever was thrown. Anything but a refusal is a fault of this page, and told as it is. */
export function wordsForError(error: unknown, t: Words): string {
  if (error instanceof Refused) return wordsForCode(error.code, t, error.message || error.code);
  return t('eOther', { why: String(error) });
}

/** The refusal's code, if it is one. */
export const codeOf = (error: unknown) => (error instanceof Refused ? error.code : undefined);
