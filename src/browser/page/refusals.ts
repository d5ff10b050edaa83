import { Refused } from '../client.ts';
import type { Key, Words } from './strings.ts';

const KEYS: Record<string, Key> = {
  name_taken: 'eNameTaken',
  too_fast: 'eTooFast',
  room_exists: 'eRoomExists',
  unreachable: 'off-unreachable',
  unavailable: 'off-unreachable',
  blocked: 'off-blocked',
  too_old: 'tooOld',
  no_session: 'ended',
  invalid_field: 'eInvalid',
};

/** What went wrong, in the reader's words. `why` is what the service itself says. */
export function wordsForCode(code: string, t: Words, why = code): string {
  return t(KEYS[code] ?? 'eOther', { why });
}

/** The same for whatever was thrown. Anything but a refusal is a fault of this page, and told as it is. */
export function wordsForError(error: unknown, t: Words): string {
  if (error instanceof Refused) return wordsForCode(error.code, t, error.message || error.code);
  return t('eOther', { why: String(error) });
}

/** The refusal's code, if it is one. */
export const codeOf = (error: unknown) => (error instanceof Refused ? error.code : undefined);
