import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

/** What is in front of a service: notes what is asked for, serves built scripts, and fails where it is told to. */
export interface Front {
  readonly url: string;
  /** Every URL that was asked for, and every Referer. */
  readonly urls: string[];
  /** How often claims were exchanged, by whether for a token. */
  readonly exchanges: { cookie: number; token: number };
  /** Exchanges of claims are answered so much later. */
  delayMs: number;
  /** Tokens say that they end so long after they were given; undefined: when they do. */
  tokenLifeMs: number | undefined;
  /** Whether the embed page is answered: as it is, never, or by an error. */
  embed: 'up' | 'slow' | 'erroring';
  close(): Promise<void>;
}

/** Opens the front. `files`: scripts by name. */
export async function openFront(serviceUrl: string, files: ReadonlyMap<string, string>): Promise<Front> {
  const pass = (req: IncomingMessage) =>
    request(new URL(req.url as string, serviceUrl), { method: req.method, headers: req.headers });
  const noteExchange = (req: IncomingMessage, body: Buffer) => {
    const isExchange = req.url?.startsWith('/api/session') === true && body.includes('"claims"');
    const isForToken = isExchange && body.includes('"token"');
    if (isExchange) front.exchanges[isForToken ? 'token' : 'cookie']++;
    return { isExchange, isForToken };
  };
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const { pathname } = new URL(req.url as string, serviceUrl);
    front.urls.push(req.url as string, req.headers.referer ?? '');
    const file = files.get(pathname.slice(1));
    if (file !== undefined) {
      res.writeHead(200, {
        'Content-Type': 'text/javascript',
        'Cross-Origin-Resource-Policy': 'cross-origin',
      });
      res.end(file);
      return;
    }
    if (pathname.startsWith('/embed/') && front.embed === 'slow') return;
    if (pathname.startsWith('/embed/') && front.embed === 'erroring') {
      res.writeHead(500).end('no');
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { isExchange, isForToken } = noteExchange(req, body);
    const upstream = pass(req);
    upstream.on('response', async (answered) => {
      if (isExchange && front.delayMs > 0) await pause(front.delayMs);
      if (isForToken && front.tokenLifeMs !== undefined && answered.statusCode === 201)
        return void shorten(answered, res, front.tokenLifeMs);
      res.writeHead(answered.statusCode as number, answered.headers);
      res.flushHeaders();
      answered.pipe(res);
    });
    upstream.on('error', () => res.destroy());
    res.on('close', () => upstream.destroy());
    upstream.end(body);
  };
  const tunnels = new Set<Duplex>();
  const server = createServer((req, res) => {
    answer(req, res).catch((error: Error) => res.writeHead(500).end(error.message));
  });
  server.on('upgrade', (req, socket: Duplex) => {
    front.urls.push(req.url as string, req.headers.referer ?? '');
    tunnels.add(socket);
    socket.on('error', () => {});
    const upstream = pass(req);
    upstream.on('error', () => socket.destroy());
    upstream.on('response', () => socket.destroy());
    upstream.on('upgrade', (answered, inner: Duplex) => {
      const headers = answered.rawHeaders.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`));
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join('')}\r\n`);
      inner.on('error', () => {});
      inner.pipe(socket).pipe(inner);
    });
    upstream.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const front: Front = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    urls: [],
    exchanges: { cookie: 0, token: 0 },
    delayMs: 0,
    tokenLifeMs: undefined,
    embed: 'up',
    async close() {
      server.closeAllConnections();
      for (const socket of tunnels) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return front;
}

/** Passes a token on that says it ends soon. */
async function shorten(answered: IncomingMessage, res: ServerResponse, lifeMs: number): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of answered) chunks.push(chunk as Buffer);
  const told = JSON.stringify({
    ...JSON.parse(Buffer.concat(chunks).toString()),
    expiresAt: Date.now() + lifeMs,
  });
  const { 'content-length': _, ...headers } = answered.headers;
  res.writeHead(201, { ...headers, 'Content-Length': Buffer.byteLength(told) }).end(told);
}
