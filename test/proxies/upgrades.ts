import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Habits, OwnAnswer } from './habits.ts';
import { type NextHop, targetFor } from './next-hop.ts';
import { Passage } from './passage.ts';

const REFUSED: OwnAnswer = { status: 403, html: '<html><body>Upgrades are not allowed here.</body></html>' };
const HEAD_END = '\r\n\r\n';

/** Passes a WebSocket handshake on, and then what follows it, as the habits have it. */
export function passUpgrade(req: IncomingMessage, socket: Duplex, hop: NextHop, habits: () => Habits): void {
  const { answer, upgrades = 'pass' } = habits();
  socket.on('error', () => {});
  const own = answer ?? (upgrades === 'refuse' ? REFUSED : undefined);
  if (own) return void socket.end(rawAnswer(own));

  const startedAt = performance.now();
  const isGone = () => performance.now() - startedAt >= (habits().blackHoleAfterMs ?? Infinity);
  const upstream = connect(hop.port, '127.0.0.1');
  const frames = new Passage(
    {
      begin: () => {},
      write: (chunk) => void socket.write(chunk),
      end: () => void socket.end(),
      cut: (how) => {
        if (how === 'clean') socket.end();
        else socket.destroy();
        upstream.destroy();
      },
    },
    () => {
      const { hold: _hold, ...others } = habits();
      return others.upgrades === 'hold' ? { ...others, hold: 'answer' } : others;
    },
    startedAt,
  );
  upstream.write(rawHead(req, hop, habits().strip?.request));
  let head = Buffer.alloc(0);
  let isHandshaken = false;
  upstream.on('data', (chunk: Buffer) => {
    if (isHandshaken) return frames.feed(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(HEAD_END);
    if (end < 0) return;
    isHandshaken = true;
    if (!isGone()) socket.write(head.subarray(0, end + HEAD_END.length));
    const rest = head.subarray(end + HEAD_END.length);
    if (rest.length > 0) frames.feed(rest);
  });
  upstream.on('end', () => frames.end());
  upstream.on('error', () => frames.fail());
  socket.on('data', (chunk: Buffer) => {
    if (!isGone()) upstream.write(chunk);
  });
  socket.on('close', () => {
    frames.stop();
    upstream.destroy();
  });
}

/** An answer as bytes, on a connection that ends with it. */
export function rawAnswer({ status, html }: OwnAnswer): string {
  const headers = [
    'Content-Type: text/html',
    `Content-Length: ${Buffer.byteLength(html)}`,
    'Connection: close',
  ];
  return `HTTP/1.1 ${status} No\r\n${headers.join('\r\n')}${HEAD_END}${html}`;
}

function rawHead(
  { method, url = '/', rawHeaders }: IncomingMessage,
  hop: NextHop,
  strip: readonly string[] = [],
) {
  const lines = [`${method} ${targetFor(hop, url)} HTTP/1.1`];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (!strip.includes(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[index + 1]}`);
  }
  return `${lines.join('\r\n')}${HEAD_END}`;
}
