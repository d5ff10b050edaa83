import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import express from 'express';
import { expect, test, vi } from 'vitest';
import { bornAs, createAppServer } from '../src/http/app-server.ts';

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

test('V8 keeps the properties of requests and responses where compiled code finds them', async () => {
  setFlagsFromString('--allow-natives-syntax');
  const isFast = new Function('object', 'return %HasFastProperties(object)') as (object: object) => boolean;
  const app = express();
  const seen: boolean[] = [];
  app.get('/api/rooms/:room', (req, res) => {
    res.set('Cache-Control', 'no-store').locals['seen'] = true;
    seen.push(isFast(req), isFast(res), isFast(Object.create(null)));
    res.json({});
  });
  const server = createAppServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await (await fetch(`http://127.0.0.1:${port}/api/rooms/lobby?limit=1`))
    .json()
    .finally(() => server.close());
  expect(seen).toEqual([true, true, false]);
});

test('what is a class can’t be born so, and is left to Express', () => {
  expect(bornAs(class Message {}, {})).toBeUndefined();
});
