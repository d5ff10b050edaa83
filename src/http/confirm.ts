import type { Request, Response } from 'express';
import { z } from 'zod';
import { parse } from '../chat/parsing.ts';
import { whenReachable } from './reachable.ts';
import type { Service } from './service.ts';

const confirmation = z.strictObject({
  nonce: z
    .string('must be a string')
    .regex(/^[A-Za-z0-9_-]{16,64}$/, 'must be the nonce of a hello')
    .optional(),
  formToken: z.string().optional(),
});

/** `POST /api/confirm {nonce?}`: the client's word that the stream of that nonce reaches it. Renews the session. */
export function confirm({ authority, leases }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { nonce } = parse(confirmation, req.body ?? {});
    const ticket = authority.ticketOf(req);
    const identity = await authority.identify(ticket);
    if (nonce !== undefined) await whenReachable(leases.confirm(nonce, identity.holder));
    await whenReachable(authority.renew(ticket, identity));
    res.status(204).end();
  };
}
