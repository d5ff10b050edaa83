import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** [spec] RFC 9110, 7.8: a server may ignore or decline an upgrade. */
export function declineUpgrade(_req: IncomingMessage, socket: Duplex): void {
  const body = '{"error":{"code":"not_found","message":"Nothing can be upgraded here."}}';
  socket.end(
    `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
