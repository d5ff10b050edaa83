import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import express, { type Express, type Request } from 'express';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { Refusal } from '../chat/refusals.ts';
import type { Reader } from '../delivery/reader.ts';
import { withoutCommand } from '../log/logger.ts';
import type { Ticket } from './authority.ts';
import { confirmStream } from './confirm.ts';
import { declineUpgrade } from './decline-upgrade.ts';
import { probeSocket } from './doctor-socket.ts';
import { type Asked, enterLasting, lastingAskedOf, refusalOfEnded } from './lasting.ts';
import { checkUpgradeOrigin } from './origin.ts';
import { queryOf } from './reading-request.ts';
import { toRefusal } from './refuse.ts';
import { logAtClose } from './request-log.ts';
import type { Service } from './service.ts';
import { SocketSink } from './socket-sink.ts';
import { tokenSaid, wordOf } from './socket-words.ts';
import { FLUSH_BYE_MS } from './stream-sink.ts';

const MAX_CLIENT_FRAME_BYTES = 4096;
const CONFIRMATION_EVERY_MS = 1000;
/** [spec] RFC 6455, 7.4.1. */
const CLOSE = { goingAway: 1001, unacceptable: 1003, malformed: 1007, refused: 1008 };

/** What a server's `upgrade` event calls. */
export type TakeUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * `GET /api/socket`: the stream as a WebSocket, each event one text frame of JSON, with `cursor` where the stream has `id:`.
 * What is refused is answered before the upgrade, in HTTP. Of the client only confirmations are heard. With `token=1`
 * its first frame must be its token, and what is then refused is told by `bye` and the close.
 */
export function takeUpgrades(service: Service): TakeUpgrade {
  const { config, counts, log } = service;
  const app = express();
  if (config.trustProxy !== undefined) app.set('trust proxy', config.trustProxy);
  const upgrader = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_CLIENT_FRAME_BYTES,
    autoPong: false,
  });
  // Without a listener the library would answer bad handshakes itself, in another shape than all of the API.
  upgrader.on('wsClientError', () => {});
  const take = async (req: Request, socket: Duplex, head: Buffer): Promise<void> => {
    switch (config.websocket === 'on' ? ownPathOf(req, config) : undefined) {
      case '/api/socket':
        await checkUpgradeOrigin(req, service);
        // Of who has left meanwhile there would be no word.
        return socket.destroyed ? undefined : openSocket(service, upgrader, req, socket, head);
      case '/api/doctor/socket':
        await checkUpgradeOrigin(req, service);
        return socket.destroyed ? undefined : probeSocket(service, upgrader, req, socket, head);
      default:
        throw new Refusal('not_found', 'Nothing can be upgraded here.');
    }
  };
  return (incoming, socket, head) => {
    socket.on('error', () => socket.destroy());
    // A client that ends its half has left, and the other half stays open by itself. (Of one that sent something first it is heard
    // once that is read.)
    socket.once('end', () => socket.destroy());
    const req = asExpressRequest(app, incoming);
    let status: number | undefined;
    logAtClose(log, req, socket, () => status);
    take(req, socket, head).then(
      () => {
        status = 101;
      },
      (error: unknown) => {
        const refusal = toRefusal(error, log);
        // Who has left is refused nothing.
        if (socket.destroyed) return;
        status = refusal.status;
        counts.refusals[refusal.code]++;
        declineUpgrade(socket, refusal);
      },
    );
  };
}

/** Rejects as long as the upgrade wasn't accepted. */
async function openSocket(
  service: Service,
  upgrader: WebSocketServer,
  req: Request,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const { config, authority } = service;
  const ticket = authority.ticketOf(req);
  const asked = lastingAskedOf(req, ticket, config);
  if (queryOf(req).get('token') === '1') {
    const webSocket = upgraded(upgrader, req, socket, head);
    return openByToken(service, webSocket, socket, { ticket, asked });
  }
  const sink = new SocketSink(socket, config.stallMs);
  const { reader, begin } = enterLasting(service, ticket, sink, asked);
  let webSocket: WebSocket | undefined;
  socket.once('close', () => reader.end());
  try {
    await begin(() => {
      webSocket = upgraded(upgrader, req, socket, head);
      sink.accept(webSocket);
      listen(service, webSocket, socket, { reader, ticket });
    });
    if (webSocket === undefined) throw refusalOfEnded(reader.ended?.by);
  } catch (error) {
    reader.end();
    if (webSocket === undefined) throw error;
    service.log.error({ err: withoutCommand(error) }, 'a WebSocket failed; it was ended');
  }
}

/** Refusal: `malformed_body`. */
function upgraded(upgrader: WebSocketServer, req: Request, socket: Duplex, head: Buffer): WebSocket {
  let webSocket: WebSocket | undefined;
  upgrader.handleUpgrade(req, socket, head, (accepted) => {
    webSocket = accepted;
  });
  if (webSocket === undefined)
    throw new Refusal('malformed_body', 'The request is no handshake of a WebSocket.');
  return webSocket;
}

/** Waits for the token, which no URL may hold, and goes on as its user. */
async function openByToken(
  service: Service,
  webSocket: WebSocket,
  socket: Duplex,
  { ticket: asked, asked: reading }: { readonly ticket: Ticket; readonly asked: Asked },
): Promise<void> {
  const { authority, config, counts, log } = service;
  const say = (code: string, closeCode: number): void => {
    if (webSocket.readyState === webSocket.OPEN) webSocket.send(JSON.stringify({ kind: 'bye', code }));
    webSocket.close(closeCode, code);
    setTimeout(() => socket.destroy(), FLUSH_BYE_MS).unref();
  };
  let reader: Reader | undefined;
  webSocket.on('error', () => reader?.end());
  try {
    const { token, hearEarly } = await tokenSaid(webSocket);
    const ticket = token === undefined ? undefined : authority.withToken(asked, token);
    if (ticket === undefined)
      throw new Refusal('no_session', 'The first frame must be {"kind": "token", …}.');
    const sink = new SocketSink(socket, config.stallMs);
    const lasting = enterLasting(service, ticket, sink, reading);
    reader = lasting.reader;
    socket.once('close', () => lasting.reader.end());
    let hasBegun = false;
    await lasting.begin(() => {
      hasBegun = true;
      sink.accept(webSocket);
      listen(service, webSocket, socket, { reader: lasting.reader, ticket });
      hearEarly();
    });
    if (!hasBegun) throw refusalOfEnded(lasting.reader.ended?.by);
  } catch (error) {
    reader?.end();
    const { code, status } = toRefusal(error, log);
    // Who has left is refused nothing.
    if (socket.destroyed) return;
    counts.refusals[code]++;
    say(code, status < 500 ? CLOSE.refused : CLOSE.goingAway);
  }
}

/** Hears the client: its confirmations, and nothing else. */
function listen(
  service: Service,
  webSocket: WebSocket,
  socket: Duplex,
  { reader, ticket }: { readonly reader: Reader; readonly ticket: Ticket },
): void {
  let confirmedAt = Number.NEGATIVE_INFINITY;
  // Whoever pings and doesn't read must not have answers heaped up.
  webSocket.on('ping', (payload) => {
    if (!socket.writableNeedDrain) webSocket.pong(payload);
  });
  webSocket.on('error', () => reader.end());
  webSocket.on('message', (data: RawData, isBinary) => {
    if (isBinary) return close(CLOSE.unacceptable, 'text only');
    const word = wordOf(data);
    if (word?.kind !== 'confirm') return close(CLOSE.malformed, 'confirmations only');
    // What came on this socket says nothing of a host's log-out since: only a request of its own does.
    if (!service.authority.isTicketLasting) return;
    const now = performance.now();
    if (now - confirmedAt < CONFIRMATION_EVERY_MS || reader.ended) return;
    confirmedAt = now;
    confirmStream(service, ticket, word.confirmation).catch((error: unknown) => {
      const { code } = toRefusal(error, service.log);
      if (code === 'no_session' || code === 'guests_refused') reader.end({ code: 'session_ended' });
    });
  });
  const close = (code: number, why: string): void => {
    webSocket.close(code, why);
    reader.end();
  };
}

/** An upgrade passes no middleware; this gives it what Express gives every request, for a host's hook above all. */
function asExpressRequest(app: Express, incoming: IncomingMessage): Request {
  const req = ('app' in incoming ? incoming : Object.setPrototypeOf(incoming, app.request)) as Request;
  req.originalUrl ??= incoming.url ?? '/';
  return req;
}

/** The path below the base path, without a slash at its end; undefined outside of it. */
export function ownPathOf(
  { url = '' }: Pick<IncomingMessage, 'url'>,
  { basePath }: Pick<Service['config'], 'basePath'>,
): string | undefined {
  const path = (url.split('?', 1)[0] as string).replace(/\/$/, '');
  return `${path}/`.startsWith(`${basePath}/`) ? path.slice(basePath.length) : undefined;
}
