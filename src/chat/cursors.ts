import { parseStreamId, type StreamId } from './ids.ts';

/** Everything about the reader's rooms up to `id`, in the history that `epoch` names, has been told. */
export interface Cursor {
  readonly epoch: string;
  readonly id: StreamId;
}

const SHAPE = /^([A-Za-z0-9]{1,32})\.(\d+-\d+)$/;

/** Reads `<epoch>.<id>`, or answers undefined for anything else. */
export function parseCursor(text: string): Cursor | undefined {
  const match = SHAPE.exec(text);
  const id = match?.[2] === undefined ? undefined : parseStreamId(match[2]);
  return match?.[1] === undefined || id === undefined ? undefined : { epoch: match[1], id };
}

/** Writes a cursor as clients carry it. */
export function formatCursor(epoch: string, id: StreamId): string {
  return `${epoch}.${id}`;
}
