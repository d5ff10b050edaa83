import type { Request, Response } from 'express';
import { z } from 'zod';
import { hostUserId, parseClaimsDraft } from '../chat/claims-draft.ts';
import { parse } from '../chat/parsing.ts';
import { Refusal } from '../chat/refusals.ts';
import { signClaims } from '../chat/sign-claims.ts';
import { keyOf } from './api-key.ts';
import { whenReachable } from './reachable.ts';
import type { Service } from './service.ts';

/**
 * `POST /api/tokens {id, name, role?, rooms?, avatar?, ttl?}` with an API key: `{claims, exp}`, signed with the site's newest
 * claim key, for platforms that can't sign. Refusal: `no_claim_key`.
 */
export function makeToken({ sites }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { ttl, ...draft } = parseClaimsDraft(req.body ?? {});
    const { site } = keyOf(res);
    const { claimKeys } = await whenReachable(sites.mustGet(site));
    const [newest] = claimKeys.toSorted((a, b) => b.createdAt - a.createdAt);
    if (newest === undefined)
      throw new Refusal('no_claim_key', 'The site has no claim key yet: throughline site key.');
    const iat = Math.floor(Date.now() / 1000);
    const exp = iat + ttl;
    res.json({ claims: signClaims({ site, ...draft, iat, exp }, newest.secret), exp });
  };
}

/**
 * `POST /api/users/:id/revoke` with an API key: what the host said of the user until now holds no longer. `{revokedAt}`,
 * in seconds since 1970. Safe to repeat.
 */
export function revokeUser({ shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { id } = parse(z.object({ id: hostUserId }), { id: req.params['id'] });
    const { site } = keyOf(res);
    res.json({ revokedAt: await whenReachable(shardOf(site).revocations.revoke(`${site}/${id}`)) });
  };
}
