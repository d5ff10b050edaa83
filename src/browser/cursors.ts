const SHAPE = /^([A-Za-z0-9]{1,32})\.(\d+)-(\d+)$/;

/** Orders two stream ids `<ms>-<seq>`: negative if `a` is the earlier. Halves are 64 bits wide, so they are compared as decimals. */
export function compareIds(a: string, b: string): number {
  const [aMs = '', aSeq = ''] = a.split('-');
  const [bMs = '', bSeq = ''] = b.split('-');
  return compareDecimals(aMs, bMs) || compareDecimals(aSeq, bSeq);
}

function compareDecimals(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The id of a cursor `<epoch>.<id>`; undefined for anything else. */
export function idOf(cursor: string): string | undefined {
  const match = SHAPE.exec(cursor);
  return match ? `${match[2]}-${match[3]}` : undefined;
}

/** Whether everything up to `cursor` counts as told for whoever stands at `at`. Never between two histories. */
export function isToldAt(at: string, cursor: string): boolean {
  const [a, b] = [SHAPE.exec(at), SHAPE.exec(cursor)];
  if (!a || !b || a[1] !== b[1]) return false;
  return compareIds(idOf(cursor) as string, idOf(at) as string) <= 0;
}

/** The earlier of two cursors of one history; the first if they aren't comparable. */
export function earlierCursor(a: string, b: string): string {
  return isToldAt(a, b) ? b : a;
}
