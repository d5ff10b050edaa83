import type { Request, Response } from 'express';
import { parseClaimsDraft } from '../chat/claims-draft.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRevocation } from '../chat/revocation.ts';
import { signClaims } from '../chat/sign-claims.ts';
import { parseUserId } from '../chat/users.ts';
import { whenReachable } from '../log/unreachable.ts';
import { keyOf } from './api-key.ts';
import { revokeUser } from './revoke-user.ts';
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

/** `POST /api/users/:id/revoke {at?}` with an API key: `{revokedAt}`, both in seconds since 1970; see `revokeUser`. Guests too. */
export function revokeByHost(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const id = parseUserId(req.params['id']);
    const at = parseRevocation(req.body ?? {}, Date.now() / 1000);
    res.json({ revokedAt: await revokeUser(service, keyOf(res).site, id, at) });
  };
}
