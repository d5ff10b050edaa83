import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Request, request as requestPrototype } from 'express';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { Refusal } from '../chat/refusals.ts';
import { type Confirmation, confirmStream, parseSocketConfirmation } from './confirm.ts';
import { declineUpgrade } from './decline-upgrade.ts';
import { probeSocket } from './doctor-socket.ts';
import { enterLasting, type LastingReader } from './lasting.ts';
import { checkUpgradeOrigin } from './origin.ts';
import { toRefusal } from './refuse.ts';
import type { Service } from './service.ts';
import { SocketSink } from './socket-sink.ts';

const MAX_CLIENT_FRAME_BYTES = 4096;
const CONFIRMATION_EVERY_MS = 1000;
/** [spec] RFC 6455, 7.4.1. */
const CLOSE = { unacceptable: 1003, malformed: 1007 };

/** What a server's `upgrade` event calls. */
export type TakeUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * `GET /api/socket`: the stream as a WebSocket, each event one text frame of JSON, with `cursor` where the stream has `id:`.
 * What is refused is answered before the upgrade, in HTTP. Of the client only confirmations are heard.
 */
export function takeUpgrades(service: Service): TakeUpgrade {
  const { config, delivery, log } = service;
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
    const path = pathOf(req);
    const isOurs = path.startsWith(`${config.basePath}/`) && config.websocket === 'on';
    switch (isOurs ? path.slice(config.basePath.length) : undefined) {
      case '/api/socket':
        checkUpgradeOrigin(req, config);
        return openSocket(service, upgrader, req, socket, head);
      case '/api/doctor/socket':
        checkUpgradeOrigin(req, config);
        return probeSocket(service, upgrader, req, socket, head);
      default:
        throw new Refusal('not_found', 'Nothing can be upgraded here.');
    }
  };
  return (incoming, socket, head) => {
    socket.on('error', () => socket.destroy());
    take(asExpressRequest(incoming), socket, head).catch((error: unknown) => {
      const refusal = toRefusal(error, log);
      delivery.counts.refusals[refusal.code]++;
      declineUpgrade(socket, refusal);
    });
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
  const sink = new SocketSink(socket, service.config.stallMs);
  const entered = enterLasting(service, req, sink);
  const { reader, begin } = entered;
  let webSocket: WebSocket | undefined;
  socket.once('close', () => reader.end());
  try {
    await begin(() => {
      upgrader.handleUpgrade(req, socket, head, (accepted) => {
        webSocket = accepted;
      });
      if (webSocket === undefined)
        throw new Refusal('malformed_body', 'The request is no handshake of a WebSocket.');
      sink.accept(webSocket);
      listen(service, webSocket, socket, entered);
    });
    if (webSocket === undefined) throw refusalOfEnded(reader.ended?.by?.code);
  } catch (error) {
    reader.end();
    if (webSocket === undefined) throw error;
    service.log.error({ err: error }, 'a WebSocket failed; it was ended');
  }
}

/** Hears the client: its confirmations, and nothing else. */
function listen(
  service: Service,
  webSocket: WebSocket,
  socket: Duplex,
  { reader, ticket }: LastingReader,
): void {
  let confirmedAt = Number.NEGATIVE_INFINITY;
  // Whoever pings and doesn't read must not have answers heaped up.
  webSocket.on('ping', (payload) => {
    if (!socket.writableNeedDrain) webSocket.pong(payload);
  });
  webSocket.on('error', () => reader.end());
  webSocket.on('message', (data: RawData, isBinary) => {
    if (isBinary) return close(CLOSE.unacceptable, 'text only');
    let confirmation: Confirmation;
    try {
      confirmation = parseSocketConfirmation(String(data));
    } catch {
      return close(CLOSE.malformed, 'confirmations only');
    }
    const now = performance.now();
    if (now - confirmedAt < CONFIRMATION_EVERY_MS || reader.ended) return;
    confirmedAt = now;
    confirmStream(service, ticket, confirmation).catch((error: unknown) => {
      const { code } = toRefusal(error, service.log);
      if (code === 'no_session') reader.end({ code: 'session_ended' });
    });
  });
  const close = (code: number, why: string): void => {
    webSocket.close(code, why);
    reader.end();
  };
}

/** A reader ended before its upgrade was accepted. */
function refusalOfEnded(code: string | undefined): Refusal {
  return code === 'session_ended'
    ? new Refusal('no_session', 'The session has ended.')
    : new Refusal('unavailable', 'The service is about to stop. Come back.', { retryAfter: 1 });
}

/** An upgrade passes no middleware; this gives it what Express gives every request, for a host's hook above all. */
function asExpressRequest(incoming: IncomingMessage): Request {
  const req = Object.setPrototypeOf(incoming, requestPrototype) as Request;
  req.originalUrl ??= incoming.url ?? '/';
  return req;
}

function pathOf({ url = '' }: IncomingMessage): string {
  return (url.split('?', 1)[0] as string).replace(/\/$/, '');
}
