import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Person } from './service.ts';

/** What is in front of a service: built scripts, and an exchange of claims that takes anybody at their word. */
export interface Front {
  readonly url: string;
  /** Every URL that was asked for. */
  readonly urls: string[];
  /** How often claims were exchanged, by whether for a token. */
  readonly exchanges: { cookie: number; token: number };
  /** Tokens end so long after they were given. */
  tokenLifeMs: number;
  /** Whether the embed page is answered: as it is, never, or by an error. */
  embed: 'up' | 'slow' | 'erroring';
  close(): Promise<void>;
}

/** Opens the front. `files`: scripts by name; `people`: whom a host vouched for before, by id. */
export async function openFront(
  serviceUrl: string,
  files: ReadonlyMap<string, string>,
  people: Map<string, Person>,
): Promise<Front> {
  const cookies = new Map<string, string>();
  const exchange = async (body: Record<string, string>, site: string, res: ServerResponse) => {
    const payload = (body['claims'] as string).split('.')[0] as string;
    const { id, name } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const person = people.get(id) ?? (await Person.logIn(serviceUrl, `${name} ${id}`, site));
    people.set(id, person);
    const told = { user: person.user, site, role: 'member', rooms: ['*'] };
    const headers: Record<string, string> = {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
    };
    if (body['token'] === '1') {
      front.exchanges.token++;
      const token = `tok-${randomBytes(12).toString('hex')}`;
      cookies.set(token, person.cookie);
      const expiresAt = Date.now() + front.tokenLifeMs;
      res.writeHead(201, headers).end(JSON.stringify({ ...told, token, expiresAt }));
      return;
    }
    front.exchanges.cookie++;
    headers['Set-Cookie'] = `${person.cookie}; Path=/; HttpOnly; SameSite=Lax`;
    res.writeHead(201, headers).end(JSON.stringify(told));
  };
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const url = new URL(req.url as string, serviceUrl);
    front.urls.push(req.url as string);
    const file = files.get(url.pathname.slice(1));
    if (file !== undefined) {
      const headers = {
        'Content-Type': url.pathname.endsWith('.js') ? 'text/javascript' : 'application/json',
        'Cross-Origin-Resource-Policy': 'cross-origin',
      };
      res.writeHead(200, headers).end(file);
      return;
    }
    if (url.pathname.startsWith('/embed/') && front.embed === 'slow') return;
    if (url.pathname.startsWith('/embed/') && front.embed === 'erroring') {
      res.writeHead(500).end('no');
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (url.pathname === '/api/session' && body.includes('"claims"'))
      return exchange(JSON.parse(body.toString()), url.searchParams.get('site') ?? 'main', res);
    const { authorization = '', ...headers } = req.headers;
    const cookie = cookies.get(authorization.replace('Bearer ', ''));
    if (cookie) headers.cookie = cookie;
    const upstream = request(new URL(url.pathname + url.search, serviceUrl), { method: req.method, headers });
    upstream.on('response', (answered) => {
      res.writeHead(answered.statusCode as number, answered.headers);
      res.flushHeaders();
      answered.pipe(res);
    });
    upstream.on('error', () => res.destroy());
    res.on('close', () => upstream.destroy());
    upstream.end(body);
  };
  const server = createServer((req, res) => {
    answer(req, res).catch((error: Error) => res.writeHead(500).end(error.message));
  });
  server.on('upgrade', (_req, socket) => socket.end('HTTP/1.1 404 Not Found\r\n\r\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const front: Front = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    urls: [],
    exchanges: { cookie: 0, token: 0 },
    tokenLifeMs: 900_000,
    embed: 'up',
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return front;
}
