import type { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';

/** Whether a request asks for a WebSocket. [spec] RFC 9110, 7.8: `Upgrade` is a list. */
export function asksForWebSocket({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return namesOf(upgrade).includes('websocket');
}

/**
 * Serves a request that asks for an upgrade to something else (h2c: curl, Java) as if it hadn't.
 * [spec] RFC 9110, 7.8: a server may ignore an upgrade. Node.js has taken its parser off the connection by then, body unread;
 * so the connection is handed to the server anew, beginning with the same request.
 */
export function ignoreUpgrade(
  server: EventEmitter,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const [name, value] = req.rawHeaders.slice(i, i + 2) as [string, string];
    if (['upgrade', 'http2-settings', 'connection'].includes(name.toLowerCase())) continue;
    lines.push(`${name}: ${value}`);
  }
  if (namesOf(req.headers.connection ?? '').includes('close')) lines.push('Connection: close');
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', socket);
}

function namesOf(list: string): string[] {
  return list.split(',').map((name) => name.trim().toLowerCase());
}
