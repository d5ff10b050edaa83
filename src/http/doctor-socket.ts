import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocketServer } from 'ws';
import { Refusal } from '../chat/refusals.ts';
import { beatFrame, PROBE_LIFE_MS, secondsOf, startBeat } from './doctor-beat.ts';
import type { Service } from './service.ts';
import { FLUSH_BYE_MS } from './stream-sink.ts';

/** [spec] RFC 6455, 7.4.1. */
const CLOSE = { done: 1000, goingAway: 1001 };

/**
 * `GET /api/doctor/socket?seconds=`: the doctor's stream as text frames of JSON; the client isn't listened to. What is
 * refused is thrown before the upgrade. Refusals: `invalid_field`, `unavailable`, `malformed_body`.
 */
export function probeSocket(
  { probes }: Pick<Service, 'probes'>,
  upgrader: WebSocketServer,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  const seconds = secondsOf(new URLSearchParams(req.url?.split('?')[1] ?? ''));
  let end = () => void socket.destroy();
  const leave = probes.take(() => end());
  socket.once('close', leave);
  let isUpgraded = false;
  upgrader.handleUpgrade(req, socket, head, (webSocket) => {
    isUpgraded = true;
    const overdue = setTimeout(() => webSocket.terminate(), PROBE_LIFE_MS);
    webSocket.on('error', () => webSocket.terminate());
    // A client that never answers the close frame would hold the connection, and with it a stop.
    const close = (code: number) => {
      webSocket.close(code);
      setTimeout(() => socket.destroy(), FLUSH_BYE_MS).unref();
    };
    const stopBeat = startBeat(seconds, {
      tell: (n, sentMs) => webSocket.send(beatFrame(n, sentMs).json.toString()),
      done: () => close(CLOSE.done),
    });
    end = () => {
      stopBeat();
      close(CLOSE.goingAway);
    };
    webSocket.once('close', () => {
      clearTimeout(overdue);
      stopBeat();
    });
  });
  if (isUpgraded) return;
  leave();
  throw new Refusal('malformed_body', 'The request is no handshake of a WebSocket.');
}
