import { createServer, IncomingMessage, type Server, type ServerOptions, ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Express } from 'express';

/** How long an idle connection is kept: longer than the idle time-outs usual in proxies, so that it is they who close. */
export const KEEP_ALIVE_MS = 75_000;

/**
 * A constructor like `base` whose instances have that prototype from the start. Express gives every request and response
 * the application's prototypes; changing an object's prototype after the fact costs more than all else Express does.
 * `base` is called rather than constructed: with `Reflect.construct` V8 makes each instance a hidden class of its own.
 */
function bornAs<T extends typeof IncomingMessage | typeof ServerResponse>(base: T, prototype: object): T {
  function Born(this: object, first: unknown, options: unknown): void {
    (base as unknown as (...args: unknown[]) => void).call(this, first, options);
  }
  Born.prototype = prototype;
  return Born as unknown as T;
}

/** The server of an Express application; with a certificate, over TLS. */
export function createAppServer(app: Express, tls?: { cert: Buffer; key: Buffer }): Server | TlsServer {
  const options: ServerOptions = {
    keepAlive: true,
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: KEEP_ALIVE_MS + 5000,
    IncomingMessage: bornAs(IncomingMessage, app.request),
    ServerResponse: bornAs(ServerResponse, app.response),
  };
  return tls ? createTlsServer({ ...options, ...tls }, app) : createServer(options, app);
}
