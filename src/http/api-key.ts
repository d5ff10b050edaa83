import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { ApiKey, Scope } from '../chat/api-keys.ts';
import { Refusal } from '../chat/refusals.ts';
import { keyUser } from '../chat/users.ts';
import { keyAddress } from '../log/api-keys.ts';
import { whenReachable } from '../log/unreachable.ts';
import { type Authority, type Identity, sessionlessIdentity, type Ticket } from './authority.ts';
import { namedSiteOf } from './named-site.ts';
import type { Service } from './service.ts';

const KEY = 'throughlineKey';

/**
 * Hands requests that carry an API key on to `api`, paced; others pass it by. Refusals: `api_key_unknown`, `too_fast`,
 * `no_site`, `unavailable`.
 */
export function forApiKeys(
  { apiKeys, apiKeyPace, sites }: Service,
  api: RequestHandler,
): (req: Request, res: Response, next: NextFunction) => void | Promise<void> {
  const letIn = async (text: string, req: Request, res: Response, next: NextFunction): Promise<void> => {
    const key = await whenReachable(apiKeys.find(text));
    if (key === undefined) throw unknownKey('There is no such API key, or it was revoked.');
    await apiKeyPace.count(`${key.site}/key:${key.id}`);
    const site = namedSiteOf(req) ?? key.site;
    if (site !== key.site)
      throw new Refusal('no_site', `The API key isn’t one of the site ${site}.`, { field: 'site' });
    await whenReachable(sites.mustGet(site));
    res.locals[KEY] = key;
    await api(req, res, next);
  };
  return (req, res, next) => {
    const text = apiKeyOf(req);
    return text === undefined ? next() : letIn(text, req, res, next);
  };
}

/** Refusal: `scope_missing`. */
export function needScope(scope: Scope): RequestHandler {
  return (_req, res, next) => {
    if (!keyOf(res).scopes.includes(scope))
      throw new Refusal('scope_missing', `The API key lacks the scope ${scope}.`);
    next();
  };
}

/** For what API keys alone may ask. Refusal: `api_key_unknown`. */
export function refuseWithoutKey(_req: Request, _res: Response): void {
  throw unknownKey('Send an API key: Authorization: Bearer tlk_…');
}

/** The key that the request was let in with. */
export function keyOf(res: Response): ApiKey {
  return res.locals[KEY] as ApiKey;
}

/** [spec] RFC 6750, 2.1. Of tokens only API keys are looked at here. */
function apiKeyOf(req: Request): string | undefined {
  const { authorization } = req.headers;
  return authorization === undefined ? undefined : /^Bearer +(tlk_\S*) *$/i.exec(authorization)?.[1];
}

function unknownKey(message: string): Refusal {
  return new Refusal('api_key_unknown', message);
}

/** The authority for requests that were let in with an API key: they read as somebody whom nobody sees. */
export class KeyAuthority implements Authority {
  readonly #apiKeys: Service['apiKeys'];
  /** The key's end is told in the journal. */
  readonly isTicketLasting = true;
  readonly sessionCounts = undefined;

  constructor(apiKeys: Service['apiKeys']) {
    this.#apiKeys = apiKeys;
  }

  ticketOf(req: Request): Ticket {
    const key = keyOf(req.res as Response);
    return { site: key.site, sid: apiKeyOf(req), addresses: [keyAddress(key)] };
  }

  /** Refusal: `no_session`, where the key was revoked meanwhile. */
  async identify({ sid, site }: Ticket): Promise<Identity> {
    const key = await whenReachable(this.#apiKeys.find(sid ?? ''));
    if (key === undefined) throw new Refusal('no_session', 'The API key was revoked.');
    return sessionlessIdentity(site, keyUser(key.id, key.name));
  }

  withToken(): undefined {
    return undefined;
  }

  async renew(): Promise<void> {}

  forget(): void {}

  formTokenOf(): undefined {
    return undefined;
  }
}
