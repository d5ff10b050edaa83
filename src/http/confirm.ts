import type { Request, Response } from 'express';
import { z } from 'zod';
import { parse } from '../chat/parsing.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomList, type RoomName } from '../chat/rooms.ts';
import { whenReachable } from '../log/unreachable.ts';
import { isStillKnown, type Ticket } from './authority.ts';
import { beHere } from './being-here.ts';
import { openRoom } from './rights.ts';
import type { Service } from './service.ts';

/** A client's word that a stream reaches it, and in which rooms its user is here. */
export interface Confirmation {
  readonly nonce?: string | undefined;
  readonly rooms: readonly RoomName[];
}

const NONCE = /^[A-Za-z0-9_-]{16,64}$/;

const nonce = z.string('must be a string').regex(NONCE, 'must be the nonce of a hello').optional();
const rooms = z
  .union([z.string(), z.array(z.string())], 'must be a list of rooms')
  .transform((list) => (typeof list === 'string' ? list : list.join(',')))
  .optional();

const posted = z.strictObject({
  nonce,
  rooms,
  formToken: z.string().optional(),
  token: z.string().optional(),
  site: z.string().optional(),
});
const framed = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('confirm'), nonce, rooms }),
  z.strictObject({ kind: z.literal('token'), token: z.string() }),
]);

function confirmationOf(read: { nonce?: string | undefined; rooms?: string | undefined }): Confirmation {
  return { nonce: read.nonce, rooms: read.rooms ? parseRoomList(read.rooms) : [] };
}

/** What the client of a WebSocket may say. */
export type ClientWord =
  | { readonly kind: 'confirm'; readonly confirmation: Confirmation }
  | { readonly kind: 'token'; readonly token: string };

/** Reads a WebSocket's `{kind: 'confirm', nonce?, rooms?}` or `{kind: 'token', token}`. Throws at anything else. */
export function parseClientWord(text: string): ClientWord {
  const said = parse(framed, JSON.parse(text));
  return said.kind === 'token' ? said : { kind: 'confirm', confirmation: confirmationOf(said) };
}

/** Whether a text may name a stream. */
export function isNonce(text: string): boolean {
  return NONCE.test(text);
}

/** Confirms a stream, renews presence and session. Refusals: `no_session`, `too_fast`, `unavailable`. */
export async function confirmStream(
  { authority, leases, shardOf }: Pick<Service, 'authority' | 'leases' | 'shardOf'>,
  ticket: Ticket,
  confirmation: Confirmation,
): Promise<void> {
  const identity = await authority.identify(ticket);
  const { holder } = identity;
  const keys = confirmation.rooms.map((room) => openRoom(identity, room));
  if (confirmation.nonce !== undefined) await whenReachable(leases.confirm(confirmation.nonce, holder));
  await beHere({ authority, shardOf }, ticket, identity, keys);
  // What a log-out meanwhile has ended isn't renewed.
  if (!(await isStillKnown(authority, ticket))) throw new Refusal('no_session', 'The session has ended.');
  await whenReachable(authority.renew(ticket, identity));
}

/**
 * `POST /api/confirm {nonce?, rooms?}`: the client's word that the stream of that nonce reaches it, and that its user is
 * here in those rooms (of which those that don't exist are passed over). Renews the session.
 */
export function confirm(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const confirmation = confirmationOf(parse(posted, req.body ?? {}));
    await confirmStream(service, service.authority.ticketOf(req), confirmation);
    res.status(204).end();
  };
}
