declare const brand: unique symbol;

/**
 * A Redis stream id, `<ms>-<seq>`, two unsigned 64-bit decimals: orders everything of a site.
 * Never compared as a string (`'9-0' > '10-0'`) nor as a number (the halves are 64 bits wide).
 */
export type StreamId = string & { readonly [brand]: 'StreamId' };

/** The id before every other. */
export const ZERO_ID = '0-0' as StreamId;

/** The id after every other. */
export const MAX_ID = '18446744073709551615-18446744073709551615' as StreamId;

const MAX_HALF = 18446744073709551615n;
const SHAPE = /^(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})$/;

/** Reads a complete stream id, or answers undefined for anything else. */
export function parseStreamId(text: string): StreamId | undefined {
  if (!SHAPE.test(text)) return undefined;
  // Only a half of 20 digits can be too large: most ids are shorter as a whole.
  const fits = text.length <= 20 || text.split('-').every((half) => BigInt(half) <= MAX_HALF);
  return fits ? (text as StreamId) : undefined;
}

/** Takes an id that Redis itself made. Throws a TypeError for what can't be one. */
export function streamId(text: unknown): StreamId {
  const id = typeof text === 'string' ? parseStreamId(text) : undefined;
  if (id === undefined) throw new TypeError(`not a stream id: ${String(text)}`);
  return id;
}

/** Negative if `a` comes before `b`, zero if they are the same, positive if it comes after. */
export function compareIds(a: StreamId, b: StreamId): number {
  if (a === b) return 0;
  const dash = a.indexOf('-');
  const byMsLength = dash - b.indexOf('-');
  if (byMsLength !== 0) return byMsLength;
  const msA = a.slice(0, dash);
  const msB = b.slice(0, dash);
  if (msA !== msB) return msA < msB ? -1 : 1;
  return a.length - b.length || (a < b ? -1 : 1);
}

/** The later of two ids. */
export function laterId(a: StreamId, b: StreamId): StreamId {
  return compareIds(a, b) < 0 ? b : a;
}

/** The earlier of two ids. */
export function earlierId(a: StreamId, b: StreamId): StreamId {
  return compareIds(a, b) < 0 ? a : b;
}

/** When Redis gave the id, in milliseconds since 1970 (later than the clock's if the clock was set back). */
export function idTime(id: StreamId): number {
  return Number(id.slice(0, id.indexOf('-')));
}
