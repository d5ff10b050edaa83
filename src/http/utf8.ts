import { Refusal } from '../chat/refusals.ts';

/** Bytes that are no UTF-8 would all become the same character, and with it different ids the same. */
export function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refusal('claims_malformed', 'What is signed is no JSON in UTF-8.');
  }
}
