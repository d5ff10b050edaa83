import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import stream from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import express from 'express';
import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { bornAs, serverFactory } from '../src/http/app-server.ts';
import { OpenConnections } from '../src/http/open-connections.ts';
import { logRequests } from '../src/http/request-log.ts';

test('requests and responses have the application’s prototypes from the start, and Node’s own state', () => {
  const app = express();
  const Request = bornAs(IncomingMessage, app.request);
  const Response = bornAs(ServerResponse, app.response);
  if (Request === undefined || Response === undefined) throw new Error('nothing is born');
  const setPrototype = vi.spyOn(Object, 'setPrototypeOf');
  const req = new Request(new Socket());
  const res = new Response(req);
  expect([Object.getPrototypeOf(req), Object.getPrototypeOf(res)]).toEqual([app.request, app.response]);
  expect([req instanceof IncomingMessage, res instanceof ServerResponse]).toEqual([true, true]);
  expect([req.headers, res.headersSent, res.req]).toEqual([{}, false, req]);
  expect(setPrototype).not.toHaveBeenCalled();
  setPrototype.mockRestore();
});

/** Asks V8 itself. */
function native<Answer>(call: string): (...objects: object[]) => Answer {
  setFlagsFromString('--allow-natives-syntax');
  return new Function('a', 'b', `return ${call}`) as (...objects: object[]) => Answer;
}

const haveSameShape = native<boolean>('%HaveSameMap(a, b)');
const isFast = native<boolean>('%HasFastProperties(a)');

/** Serves an application while `use` asks it. */
async function serve(
  app: express.Express,
  connections: OpenConnections,
  use: (port: number, server: ReturnType<ReturnType<typeof serverFactory>>) => Promise<unknown>,
): Promise<void> {
  const server = serverFactory(app)();
  connections.attend(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use((server.address() as AddressInfo).port, server);
  } finally {
    await connections.close(0, 0);
  }
}

test('V8 keeps the properties of requests and responses where compiled code finds them', async () => {
  const app = express();
  const seen: boolean[] = [];
  app.get('/api/rooms/:room', (req, res) => {
    res.set('Cache-Control', 'no-store').locals['seen'] = true;
    seen.push(isFast(req), isFast(res), isFast(Object.create(null)));
    res.json({});
  });
  await serve(app, new OpenConnections(), async (port) =>
    (await fetch(`http://127.0.0.1:${port}/api/rooms/lobby?limit=1`)).json(),
  );
  expect(seen).toEqual([true, true, false]);
});

test('what is a class can’t be born so, and is left to Express', () => {
  expect(bornAs(class Message {}, {})).toBeUndefined();
});

test('a request has one shape once it is over, whatever the route did', async () => {
  const app = express();
  const over: object[] = [];
  const before = new Map<object, string[]>();
  app.use((req, res, next) => {
    res.once('close', () => over.push(req));
    next();
  });
  app.get('/told', (_req, res) => void res.status(204).end());
  app.post('/taken', express.json(), (req, res) => void res.json(req.body));
  // No route, so that Express doesn't set one.
  app.use((_req, res) => void res.status(404).end());
  await serve(app, new OpenConnections(), async (port, server) => {
    server.prependListener('request', (req: object) => before.set(req, Object.keys(req)));
    const body = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"text":"x"}' };
    // V8 only learns what Express sets from the first ones.
    for (let i = 0; i < 2; i++) {
      await (await fetch(`http://127.0.0.1:${port}/told`)).text();
      await (await fetch(`http://127.0.0.1:${port}/taken`, body)).text();
      await (await fetch(`http://127.0.0.1:${port}/nothing`)).text();
    }
    await vi.waitFor(() => expect(over).toHaveLength(6));
  });
  const [told, taken, nothing] = over.slice(3) as [object, object, object];
  expect([haveSameShape(told, taken), haveSameShape(told, nothing)]).toEqual([true, true]);
  expect(haveSameShape(told, app)).toBe(false);
  const later = Object.keys(taken).filter((key) => !before.get(taken)?.includes(key));
  // What Node.js and parseurl keep for themselves comes to all in the same order.
  expect(later.filter((key) => !key.startsWith('_'))).toEqual([]);
});

test('a response has one shape from its birth on, whatever is answered', async () => {
  const app = express();
  /** One that is over, to compare with one that has just been born. */
  let over: object = {};
  const same: boolean[] = [];
  app.get('/told', (_req, res) => void res.status(204).end());
  app.get('/opened', (_req, res) => void res.writeHead(200, { 'Content-Type': 'text/plain' }).end('x'));
  app.post(
    '/taken',
    logRequests(pino({ level: 'info' }, { write: () => {} })),
    express.json(),
    (req, res) => {
      res.locals['seen'] = true;
      res.set('Cache-Control', 'no-store').status(201).json(req.body);
    },
  );
  await serve(app, new OpenConnections(), async (port, server) => {
    server.prependListener('request', (_req: object, res: ServerResponse) => {
      same.push(haveSameShape(res, over));
      res.once('close', () => {
        over = res;
      });
    });
    const body = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"text":"x"}' };
    for (let i = 0; i < 4; i++) {
      await (await fetch(`http://127.0.0.1:${port}/told`)).text();
      await (await fetch(`http://127.0.0.1:${port}/opened`)).text();
      await (await fetch(`http://127.0.0.1:${port}/taken`, body)).text();
    }
  });
  // V8 only learns from the first ones what they hold.
  expect(same.slice(6)).toEqual([true, true, true, true, true, true]);
});

test('connections have one shape: new, answered on, kept alive, held, or asked who is at the other end', async () => {
  const app = express();
  const connections = new OpenConnections();
  const asked: Socket[] = [];
  const found: [path: string, before: boolean, after: boolean][] = [];
  app.get('/:what', (req, res) => {
    const { path, socket } = req;
    asked.push(socket);
    const [first] = asked as [Socket];
    const before = haveSameShape(first, socket);
    if (path === '/held') {
      res.flushHeaders();
      expect(connections.hold(res)).toBe(true);
    } else res.send(path === '/who' ? req.ip : 'x');
    found.push([path, before, haveSameShape(first, socket)]);
  });
  const clients: Socket[] = [];
  await serve(app, connections, async (port) => {
    for (const paths of [['/first'], ['/new'], ['/new', '/kept'], ['/held'], ['/who']]) {
      const client = connect(port, '127.0.0.1').on('error', () => {});
      clients.push(client);
      for (const path of paths) {
        client.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        await once(client, 'data');
      }
    }
    for (const client of clients) client.destroy();
  });
  expect(isFast(asked[0] as Socket)).toBe(true);
  expect(found.slice(1)).toEqual([
    ['/new', true, true],
    ['/new', true, true],
    ['/kept', true, true],
    ['/held', true, true],
    ['/who', true, true],
  ]);
});

test('the options of connections have one shape, so that V8 finds in each what it found in the one before', async () => {
  const { Duplex } = stream;
  const options: object[] = [];
  // What `net.Socket` calls with its copy of them.
  function Watched(this: Socket, own: object): void {
    if (Object.hasOwn(own, 'pauseOnCreate')) options.push(own);
    (Duplex as unknown as (own: object) => void).call(this, own);
  }
  await serve(express(), new OpenConnections(), async (port) => {
    stream.Duplex = Object.assign(Watched, { prototype: Duplex.prototype }) as unknown as typeof Duplex;
    try {
      // Of the first ones V8 keeps no account yet.
      for (let i = 0; i < 40; i++) {
        const client = connect(port, '127.0.0.1').end('GET / HTTP/1.0\r\n\r\n').resume();
        await once(client, 'close');
      }
    } finally {
      stream.Duplex = Duplex;
    }
  });
  expect(options).toHaveLength(40);
  const last = options.at(-1) as object;
  expect(options.slice(20).filter((one) => !haveSameShape(one, last))).toEqual([]);
});
