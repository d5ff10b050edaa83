import { createServer, IncomingMessage, type Server, type ServerOptions, ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { Socket } from 'node:net';
import { versions } from 'node:process';
import express, { type Express } from 'express';
import { oweNoLine } from './request-log.ts';

/** How long an idle connection is kept: longer than the idle time-outs usual in proxies, so that it is they who close. */
export const KEEP_ALIVE_MS = 75_000;

/**
 * A constructor like `base` whose instances have that prototype from the start, and what `complete` sets on them.
 * Express gives every request and response the application's prototypes; changing an object's prototype after the fact
 * costs more than all else Express does.
 * `base` is called rather than constructed: with `Reflect.construct` V8 makes each instance a hidden class of its own.
 * Undefined for a class, which can't be called: Node.js wants its constructors to become such one day (DEP0195), and then
 * Express changes the prototypes itself, as it does everywhere else.
 */
export function bornAs<T extends new (...args: never[]) => object>(
  base: T,
  prototype: object,
  complete?: (born: object) => void,
): T | undefined {
  if (/^class\b/.test(Function.prototype.toString.call(base))) return undefined;
  function Born(this: object, first: unknown, options: unknown): void {
    (base as unknown as (...args: unknown[]) => void).call(this, first, options);
    complete?.(this);
  }
  Born.prototype = prototype;
  // V8 makes room in an object for what it counts in the constructors that a constructor inherits from. Without that room
  // it would soon keep every response as a dictionary, where each property has to be looked up.
  Object.setPrototypeOf(Born, base);
  return Born as unknown as T;
}

type Unset<Name extends string> = { [name in Name]?: undefined };

/**
 * What Express sets on a request as it goes its way, each route some of it and in an order of its own. With it there from
 * the start V8 sees requests of few shapes, and what it compiled for one route serves the others.
 */
function completeRequest(
  req: Unset<'res' | 'next' | 'baseUrl' | 'originalUrl' | 'params' | 'body' | 'route'>,
): void {
  req.res = undefined;
  req.next = undefined;
  req.baseUrl = undefined;
  req.originalUrl = undefined;
  req.params = undefined;
  req.body = undefined;
  req.route = undefined;
}

/** The same of a response. */
function completeResponse(
  res: Unset<'locals' | 'statusMessage'> & Partial<Pick<ServerResponse, 'statusCode'>>,
): void {
  res.locals = undefined;
  res.statusCode = 200;
  res.statusMessage = undefined;
  oweNoLine(res);
}

const MAJOR = Number.parseInt(versions.node, 10);
const FIRST_WITHOUT_V8_13303 = 21;
/** The first ones teach V8 nothing: it keeps no account of a function that was called a few times only. */
const SHOWN_SOCKETS = 100;
/** More than V8 tells apart at one place in the code. */
const SHOWN_SHAPES = 10;

/**
 * Has V8 give the options of all connections one hidden class. `net.Socket` copies them by spread and adds to the copy, for which V8
 * before 11.7 (Node.js 20) makes each connection classes of its own, so that some thirty looks at its options are looked up anew
 * (v8:13303). Where it has seen many shapes of options it copies them property by property instead, and all are alike.
 */
function showManyOptions(): void {
  for (let i = 0; i < SHOWN_SOCKETS; i++) new Socket({ [`shape${i % SHOWN_SHAPES}`]: true } as object);
}

/** An application for the service's router, and for nothing else. */
export function createApp({ trustProxy }: { readonly trustProxy: number | string | undefined }): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  if (trustProxy !== undefined) app.set('trust proxy', trustProxy);
  return app;
}

/** Makes servers; with a certificate, over TLS. */
export type CreateServer = (tls?: { cert: Buffer; key: Buffer }) => Server | TlsServer;

/** For servers of an Express application, whose requests and responses are all alike: what V8 learns of one's it knows of the other's. */
export function serverFactory(app: Express): CreateServer {
  const request = bornAs(IncomingMessage, app.request, completeRequest);
  const response = bornAs(ServerResponse, app.response, completeResponse);
  const options: ServerOptions = {
    keepAlive: true,
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: KEEP_ALIVE_MS + 5000,
    ...(request && { IncomingMessage: request }),
    ...(response && { ServerResponse: response }),
  };
  if (MAJOR < FIRST_WITHOUT_V8_13303) showManyOptions();
  return (tls) => (tls ? createTlsServer({ ...options, ...tls }, app) : createServer(options, app));
}
