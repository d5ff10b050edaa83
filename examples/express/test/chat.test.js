import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import request from 'supertest';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from '../app.js';

let folder;
let server;
let close;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'workshop-'));
  // A Redis of the chat's own, in that folder.
  const { app, takeUpgrade, ...rest } = await createApp({
    secret: 'of the tests',
    dataDir: folder,
    logLevel: 'silent',
  });
  close = rest.close;
  server = createServer(app).on('upgrade', takeUpgrade).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(async () => {
  await close?.();
  server?.closeAllConnections();
  server?.close();
  await rm(folder, { recursive: true, force: true });
});

const MESSAGES = '/chat/api/rooms/lobby/messages';

/** A browser of somebody who has logged in. */
async function logIn(login, password) {
  const browser = request.agent(server);
  await browser.post('/log-in').type('form').send({ login, password }).expect(303).expect('Location', '/');
  return browser;
}

/** The session's cookie, for what isn't supertest's: its answers are read to their end, and a stream has none. */
async function cookieOf(login, password) {
  const answer = await request(server).post('/log-in').type('form').send({ login, password });
  return answer.get('Set-Cookie')[0].split(';')[0];
}

/** A room's stream, by somebody's cookie. */
function follow(room, cookie) {
  const url = `http://127.0.0.1:${server.address().port}/chat/api/stream?rooms=${room}`;
  return new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Cookie: cookie } }),
  });
}

/** The next event of that name, parsed; unnamed ones are `message`. */
const next = (source, name) =>
  new Promise((resolve) => {
    source.addEventListener(name, ({ data }) => resolve(JSON.parse(data)), { once: true });
  });

test('nobody reads or posts', async () => {
  const refused = await request(server).get(MESSAGES).expect(401);
  expect(refused.body.error.code).toBe('no_session');
  await request(server).post(MESSAGES).send({ text: 'hello' }).expect(401);
  await request(server).get('/chat/api/stream?rooms=lobby').expect(401);
  await request(server).get('/').expect(303).expect('Location', '/log-in');
});

test('nobody is let in by a wrong password, or by another site’s form', async () => {
  const wrong = { login: 'ada', password: 'compiler' };
  await request(server).post('/log-in').type('form').send(wrong).expect(401);
  const foreign = request(server).post('/log-in').set('Sec-Fetch-Site', 'cross-site').type('form');
  await foreign.send({ login: 'ada', password: 'analytical' }).expect(403);
});

test('what a user posts is in the history, under the name that they have here', async () => {
  const ada = await logIn('ada', 'analytical');
  const { body } = await ada.get('/chat/api/session').expect(200);
  expect(body.user).toMatchObject({ id: '7', name: 'Ada Lovelace', guest: false });
  const posted = await ada.post(MESSAGES).send({ text: 'hello' }).expect(201);
  const history = await ada.get(MESSAGES).expect(200);
  expect(history.body.events.at(-1)).toMatchObject({
    id: posted.body.id,
    text: 'hello',
    user: { id: '7', name: 'Ada Lovelace' },
  });
});

test('another user reads it, and hears by the stream what follows', async () => {
  const ada = await logIn('ada', 'analytical');
  const zoe = await logIn('zoe', 'compiler');
  await ada.post(MESSAGES).send({ text: 'is the lathe free?' }).expect(201);
  const history = await zoe.get(MESSAGES).expect(200);
  expect(history.body.events.at(-1)).toMatchObject({ text: 'is the lathe free?', user: { id: '7' } });

  const stream = follow('lobby', await cookieOf('zoe', 'compiler'));
  try {
    await next(stream, 'hello');
    const heard = next(stream, 'message');
    await ada.post(MESSAGES).send({ text: 'never mind' }).expect(201);
    expect(await heard).toMatchObject({ text: 'never mind', user: { name: 'Ada Lovelace' } });
  } finally {
    stream.close();
  }
});

test('a log-out ends what is open', async () => {
  const ada = await logIn('ada', 'analytical');
  const stream = follow('lobby', await cookieOf('ada', 'analytical'));
  try {
    await next(stream, 'hello');
    const ended = next(stream, 'bye');
    await ada.post('/log-out').expect(303);
    expect(await ended).toMatchObject({ code: 'session_ended' });
    await ada.get(MESSAGES).expect(401);
  } finally {
    stream.close();
  }
});
