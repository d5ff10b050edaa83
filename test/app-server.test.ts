import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import express from 'express';
import { expect, test, vi } from 'vitest';
import { bornAs } from '../src/http/app-server.ts';

test('requests and responses have the application’s prototypes from the start, and Node’s own state', () => {
  const app = express();
  const setPrototype = vi.spyOn(Object, 'setPrototypeOf');
  const Request = bornAs(IncomingMessage, app.request);
  const Response = bornAs(ServerResponse, app.response);
  if (Request === undefined || Response === undefined) throw new Error('nothing is born');
  const req = new Request(new Socket());
  const res = new Response(req);
  expect([Object.getPrototypeOf(req), Object.getPrototypeOf(res)]).toEqual([app.request, app.response]);
  expect([req instanceof IncomingMessage, res instanceof ServerResponse]).toEqual([true, true]);
  expect([req.headers, res.headersSent, res.req]).toEqual([{}, false, req]);
  expect(setPrototype).not.toHaveBeenCalled();
  setPrototype.mockRestore();
});

test('what is a class can’t be born so, and is left to Express', () => {
  expect(bornAs(class Message {}, {})).toBeUndefined();
});
