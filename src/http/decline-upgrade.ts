import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Refusal } from '../chat/refusals.ts';

/**
 * Answers an upgrade with a refusal, in the shape and with the headers that all of the API has, and closes.
 * [spec] RFC 9110, 7.8: a server may ignore or decline an upgrade.
 */
export function declineUpgrade(socket: Duplex, refusal: Refusal): void {
  const body = Buffer.from(JSON.stringify(refusal));
  const { retryAfter } = refusal.details;
  const head = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${body.length}`,
    'Cache-Control: no-store, no-transform',
    'X-Content-Type-Options: nosniff',
    'Throughline: 1',
    ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
    'Connection: close',
  ];
  // A client that keeps its half open would otherwise hold the connection.
  socket.once('finish', () => socket.destroy());
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}
