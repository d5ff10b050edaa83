import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Router } from 'express';
import { pino } from 'pino';
import { parseRevocation } from './chat/revocation.ts';
import { MAIN_SITE, parseSiteName, type SiteName } from './chat/sites.ts';
import { parseUserId } from './chat/users.ts';
import { type Config, DEFAULTS } from './config.ts';
import type { UserHook } from './http/host-authority.ts';
import { ownPathOf } from './http/socket.ts';
import type { Log } from './log/logger.ts';
import { StartError } from './log/start-error.ts';
import { type Host, openService } from './open-service.ts';

/** Settings as in the README's table (camelCase), and what only an embedding application can give. */
export interface ThroughlineOptions extends Partial<Config> {
  /**
   * The application's own log-in: answers `{id, name}` for whoever sent the request, undefined for nobody. With it,
   * Throughline keeps no sessions and never touches `req.session`. Without it guests log in by `POST /api/session`.
   */
  readonly user?: UserHook;
  /** With `user`: the site that its users talk in, `main` by default. Made if there is none of that name. */
  readonly site?: string;
  readonly log?: Log;
}

/** A chat to mount: `app.use('/chat', chat.router)`. */
export interface Throughline {
  readonly router: Router;
  /**
   * For the server's `upgrade` event, whose requests pass no middleware: takes those for `<basePath>/api/socket`, declines
   * with 404 what else is below the base path, and leaves all other paths untouched, for the application to take or destroy.
   * (With an empty base path that is none.) A `user` hook that needs the application's session must have it parsed before
   * this is called; `req.ip`, `req.protocol` and `req.secure` there follow the setting `trustProxy`. Node.js emits `upgrade`
   * for every protocol: pass on only what asks for `websocket`, if clients may ask for others (h2c) below the base path.
   */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Where the metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /**
   * Ends at once, on every process, everything that a user has open: call it at a log-out or a ban. With `user` it is the
   * hook's to refuse the user from then on; else claims made until now are refused. `site` is that of `user`, or `main`;
   * `at` is when it is by the clock that dates the claims, if that isn't this process', in seconds since 1970 (60 s ahead at
   * most). Refusal: `invalid_field`.
   */
  revoke(userId: string, site?: string, at?: number): Promise<void>;
  /** Says `bye` to all readers and leaves Redis; call it before `server.close()`. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Starts the chat as part of another Express application. Rejects with a StartError (one sentence) where Redis can't be
 * used. Set `basePath` to where it is mounted, so that its cookie stays there.
 */
export async function createThroughline({
  user,
  site,
  log,
  ...settings
}: ThroughlineOptions = {}): Promise<Throughline> {
  const config: Config = { ...DEFAULTS, ...settings };
  const service = await openService(config, log ?? pino({ level: config.logLevel }), {
    host: hostOf(user, site),
  });
  return {
    router: service.router,
    upgrade: (req, socket, head) => {
      if (ownPathOf(req, config) !== undefined) service.upgrade(req, socket, head);
    },
    metricsUrl: service.metricsUrl,
    revoke: async (userId, of = site ?? MAIN_SITE, at = Math.floor(Date.now() / 1000)) => {
      const atS = parseRevocation({ at }, Date.now() / 1000);
      await service.revoke(parseSiteName(of), parseUserId(userId), atS);
    },
    close: async () => {
      service.endReaders();
      await service.close();
    },
  };
}

function hostOf(user: UserHook | undefined, site: string | undefined): Host | undefined {
  if (user) return { user, site: site === undefined ? MAIN_SITE : nameOf(site) };
  if (site !== undefined) throw new StartError('site needs user: without it requests name their site.');
  return undefined;
}

function nameOf(site: string): SiteName {
  try {
    return parseSiteName(site);
  } catch (error) {
    throw new StartError((error as Error).message);
  }
}

export { StartError };
