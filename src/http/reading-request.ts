import type { Request } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomList, type RoomName } from '../chat/rooms.ts';

/** What a stream or poll asks for, by GET or by POST. */
export interface ReadingRequest {
  readonly rooms: readonly RoomName[];
  /** The cursor to go on from, as the client sent it; undefined: from now. */
  readonly after: string | undefined;
  /** All its parameters, for what else it asks. */
  readonly parameters: URLSearchParams;
}

/** The parameters of a request that only reads: the query, and in a POST the body's fields, which win. */
export function parametersOf(req: Request): URLSearchParams {
  const parameters = queryOf(req);
  const body: unknown = req.body;
  if (typeof body === 'object' && body !== null) {
    for (const [name, value] of Object.entries(body)) {
      const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
      if (typeof value === 'string' || typeof value === 'number' || isList)
        parameters.set(name, String(value));
      else throw new Refusal('invalid_field', `${name} must be a string or a number.`, { field: name });
    }
  }
  return parameters;
}

/** The query alone. */
export function queryOf({ originalUrl }: Request): URLSearchParams {
  const start = originalUrl.indexOf('?');
  return new URLSearchParams(start < 0 ? '' : originalUrl.slice(start));
}

/** Reads what a stream or poll asks for. `Last-Event-ID` wins over `after`. Refusal: `invalid_field`. */
export function parseReading(req: Request): ReadingRequest {
  const parameters = parametersOf(req);
  const rooms = parseRoomList(parameters.getAll('rooms').join(','));
  const lastEventId = req.headers['last-event-id'] as string | undefined;
  return {
    rooms,
    after: lastEventId || parameters.get('after') || undefined,
    parameters,
  };
}

/** A decimal number, brought into its range; `otherwise` where it isn't given. Refusal: `invalid_field`. */
export function numberOf(
  parameters: URLSearchParams,
  name: string,
  { min, max, otherwise }: { min: number; max: number; otherwise: number },
): number {
  const text = parameters.get(name);
  if (text === null || text === '') return otherwise;
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(text)) {
    throw new Refusal('invalid_field', `${name} must be a number.`, { field: name });
  }
  return Math.min(max, Math.max(min, Number(text)));
}

/** Whether a parameter is 1; not where it isn't given. Refusal: `invalid_field`. */
export function flagOf(parameters: URLSearchParams, name: string): boolean {
  const text = parameters.get(name) ?? '0';
  if (text !== '0' && text !== '1')
    throw new Refusal('invalid_field', `${name} must be 0 or 1.`, { field: name });
  return text === '1';
}
