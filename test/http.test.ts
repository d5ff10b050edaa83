import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import session from 'express-session';
import { pino } from 'pino';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Config } from '../src/config.ts';
import { inTurn } from '../src/http/in-turn.ts';
import { createThroughline, type ThroughlineOptions } from '../src/library.ts';
import { withoutCommand } from '../src/log/logger.ts';
import { type RunningServer, startServer } from '../src/server.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let url: string;
let person: Person;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  redis = await startTestRedis();
  ({ url } = await serve());
  person = await Person.logIn(url);
});
afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await redis.stop();
});

async function serve(overrides: Partial<Config> = {}, at = redis) {
  const config = testConfig(at, overrides);
  const server: RunningServer = await startTestServer(config);
  closing.push(() => server.close());
  return { config, url: server.url };
}

/** A POST of JSON as somebody. */
const post = (path: string, body: unknown, by: Person | undefined = person) => {
  const sent = request(by?.url ?? url)
    .post(path)
    .type('json');
  if (by) sent.set('Cookie', by.cookie);
  return sent.send(typeof body === 'string' ? body : JSON.stringify(body));
};
const get = (path: string, by: Person = person) => request(by.url).get(path).set('Cookie', by.cookie);
const postAsNobody = (path: string, body: unknown, at = url) =>
  request(at)
    .post(path)
    .send(body as object);

const refused = (res: { status: number; body: unknown }, status: number, code: string, field?: string) => {
  expect({ status: res.status, body: res.body }).toMatchObject({
    status,
    body: { error: { code, message: expect.any(String), ...(field !== undefined && { field }) } },
  });
};

const cookieOf = (res: { headers: Record<string, unknown> }) =>
  String((res.headers['set-cookie'] as string[] | undefined)?.[0]).split(';')[0] as string;

const MESSAGES = '/api/rooms/lobby/messages';
const sidOf = ({ cookie }: Person) =>
  (/^s:([^.]+)\./.exec(decodeURIComponent(cookie.split('=')[1] as string)) as RegExpExecArray)[1] as string;

describe('what can’t be read is refused, and changes nothing', () => {
  test.each(['{', '{"text":', 'text', '"text"', '1', 'null', '{"text":"a"}}', '{text:"a"}'])(
    'JSON such as %j is malformed_body',
    async (body) => {
      for (const path of [MESSAGES, '/api/session', '/api/rooms', '/api/poll', '/api/confirm'])
        refused(await post(path, body), 400, 'malformed_body');
    },
  );

  test('a path that isn’t UTF-8 is a 400', async () => {
    refused(await get('/api/rooms/%E0%A4%A/messages'), 400, 'malformed_body');
  });

  test.each([
    [[], ''],
    [[{ text: 'a' }], ''],
    [{}, 'text'],
    [{ text: 1 }, 'text'],
    [{ text: null }, 'text'],
    [{ text: ['a'] }, 'text'],
    [{ text: { toString: 'a' } }, 'text'],
    [{ text: '' }, 'text'],
    [{ text: ' \n\t' }, 'text'],
    [{ text: 'a\u0000b' }, 'text'],
    [{ text: 'a\u001b[31m' }, 'text'],
    [{ text: 'a\u007f' }, 'text'],
    [{ text: 'a\ud800' }, 'text'],
    [{ text: 'x'.repeat(4001) }, 'text'],
    [{ text: '😀'.repeat(4001) }, 'text'],
    [{ text: 'a', clientId: 'short' }, 'clientId'],
    [{ text: 'a', clientId: `${'a'.repeat(20)}\n` }, 'clientId'],
    [{ text: 'a', clientId: 'a'.repeat(65) }, 'clientId'],
    [{ text: 'a', clientId: 7 }, 'clientId'],
    [{ text: 'a', id: '1-0' }, 'id'],
    [{ text: 'a', user: { id: 'x' } }, 'user'],
    [{ text: 'a', constructor: { prototype: { polluted: 1 } } }, 'constructor'],
    [{ text: 'a', prototype: 1 }, 'prototype'],
  ])('a message %#: invalid_field', async (body, field) => {
    const before = await person.history();
    refused(await post(MESSAGES, body), 400, 'invalid_field', Array.isArray(body) ? undefined : field);
    expect((await person.history()).cursor).toBe(before.cursor);
  });

  test('4,000 characters are taken, an emoji counting as one, tabs and line ends standing', async () => {
    for (const text of [
      'x'.repeat(4000),
      '😀'.repeat(4000),
      '\ta\r\nb\n',
      '<script>alert(1)</script>',
      '\u2028"\\',
    ]) {
      expect((await post(MESSAGES, { text })).status).toBe(201);
      expect((await person.history('limit=1')).events[0]).toMatchObject({ text });
    }
  });

  test.each([
    [{}],
    [{ name: '' }],
    [{ name: ' ' }],
    [{ name: '\u200b\u2060' }],
    [{ name: 7 }],
    [{ name: ['Ann'] }],
    [{ name: 'A\nB' }],
    [{ name: 'A\r\nSet-Cookie: a=b' }],
    [{ name: 'A\u0000' }],
    [{ name: 'A\u2028B' }],
    [{ name: '\u202eevil' }],
    [{ name: 'a\ud800' }],
    [{ name: 'x'.repeat(41) }],
  ])('a name %#: invalid_field, and no cookie', async (body) => {
    const res = await postAsNobody('/api/session', body);
    refused(res, 400, 'invalid_field', 'name');
    expect(res.headers['set-cookie']).toBeUndefined();
  });

  test('a log-in can’t say who one is', async () => {
    for (const field of ['id', 'guest', 'user', 'admin'])
      refused(
        await postAsNobody('/api/session', { name: 'Mallory', [field]: 'x' }),
        400,
        'invalid_field',
        field,
      );
  });

  test.each([
    [{}, 'room'],
    [{ room: '' }, 'room'],
    [{ room: 'A' }, 'room'],
    [{ room: '-a' }, 'room'],
    [{ room: 'a/b' }, 'room'],
    [{ room: '../lobby' }, 'room'],
    [{ room: 'a,b' }, 'room'],
    [{ room: 'a\n' }, 'room'],
    [{ room: 'a'.repeat(65) }, 'room'],
    [{ room: ['a'] }, 'room'],
    [{ room: 'fine', title: 'a\nb' }, 'title'],
    [{ room: 'fine', title: 'x'.repeat(201) }, 'title'],
    [{ room: 'fine', title: 5 }, 'title'],
    [{ room: 'fine', members: 5 }, 'members'],
  ])('a room %#: invalid_field', async (body, field) => {
    refused(await post('/api/rooms', body), 400, 'invalid_field', field);
    refused(await get('/api/rooms/fine'), 404, 'room_not_found');
  });

  test.each(['a%0Ab', 'a%0D%0AX-Evil:%201', 'A', '%2e%2e%2flobby', '%00', '%5f_proto__', '-a'])(
    'the room %s of a URL: invalid_field, and no header of its making',
    async (room) => {
      for (const path of [`/api/rooms/${room}`, `/api/rooms/${room}/messages`]) {
        const res = await get(path);
        refused(res, 400, 'invalid_field', 'room');
        expect(res.headers['x-evil']).toBeUndefined();
      }
      for (const path of [`/api/rooms/${room}/join`, `/api/rooms/${room}/leave`])
        refused(await post(path, {}), 400, 'invalid_field', 'room');
      refused(await post(`/api/rooms/${room}/messages`, { text: 'a' }), 400, 'invalid_field', 'room');
      refused(await get(`/api/poll?rooms=${room}&wait=0`), 400, 'invalid_field', 'room');
      refused(await get(`/api/stream?rooms=${room}`), 400, 'invalid_field', 'room');
    },
  );

  test.each([
    'limit=x',
    'limit=-1',
    'limit=1e9',
    'limit=NaN',
    'limit=0x10',
    'before=x',
    'after=1',
    'after=1-0%0D%0AX-Evil:1',
    'after=99999999999999999999-0',
    'before=1-0&after=1-0',
  ])('a page of history with %s: invalid_field', async (query) => {
    const res = await get(`${MESSAGES}?${query}`);
    refused(res, 400, 'invalid_field', query.split(/[=&]/)[0] as string);
    expect(res.headers['x-evil']).toBeUndefined();
  });

  test.each([
    ['', 'rooms'],
    ['rooms=', 'rooms'],
    ['rooms=,,', 'rooms'],
    [`rooms=${Array.from({ length: 51 }, (_, i) => `r${i}`).join()}`, 'rooms'],
    ['rooms=lobby&wait=soon', 'wait'],
    ['rooms=lobby&wait=-1', 'wait'],
    ['rooms=lobby&wait=Infinity', 'wait'],
    ['rooms=lobby&wait=0&drip=yes', 'drip'],
  ])('a poll with %s: invalid_field', async (query, field) => {
    refused(await get(`/api/poll?${query}`), 400, 'invalid_field', field);
    if (field === 'rooms') refused(await get(`/api/stream?${query}`), 400, 'invalid_field', field);
  });

  test('a stream with a heartbeat or a confirm that is none: invalid_field', async () => {
    refused(await get('/api/stream?rooms=lobby&heartbeat=x'), 400, 'invalid_field', 'heartbeat');
    refused(await get('/api/stream?rooms=lobby&confirm=2'), 400, 'invalid_field', 'confirm');
  });

  test('the body of a poll may only have strings, numbers and lists of strings', async () => {
    for (const wrong of [{ a: 1 }, [1], null, true])
      refused(await post('/api/poll', { rooms: 'lobby', wait: wrong }), 400, 'invalid_field', 'wait');
    refused(
      await post('/api/poll', '{"rooms":"lobby","__proto__":{"wait":0}}'),
      400,
      'invalid_field',
      '__proto__',
    );
    expect((await post('/api/poll', { rooms: ['lobby'], wait: 0 })).status).toBe(200);
  });

  test('a confirmation of what is no nonce: invalid_field', async () => {
    for (const nonce of ['', 'x', 7, 'a\n'.repeat(10), '../../../../etc/passwd'])
      refused(await post('/api/confirm', { nonce }), 400, 'invalid_field', 'nonce');
    refused(await post('/api/confirm', { nonsense: 1 }), 400, 'invalid_field', 'nonsense');
  });

  test('prototypes can’t be reached', async () => {
    for (const body of [
      '{"text":"proto","__proto__":{"polluted":1}}',
      '{"text":"a","constructor":{"prototype":{"polluted":1}}}',
    ])
      expect([201, 400]).toContain((await post(MESSAGES, body)).status);
    await request(url)
      .post('/api/session')
      .type('form')
      .set('Origin', url)
      .send('name=Proto&__proto__[polluted]=1&constructor[prototype][polluted]=1');
    await get('/api/poll?rooms=lobby&wait=0&__proto__=1&__proto__[polluted]=1&constructor=2');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    for (const { user } of (await person.history()).events) expect(user).not.toHaveProperty('polluted');
    for (const room of ['constructor', 'prototype', 'tostring'])
      refused(await get(`/api/rooms/${room}`), 404, 'room_not_found');
  });

  test('a value given twice is a list of rooms, or the first one, and in a form is no text', async () => {
    await post('/api/rooms', { room: 'twice' });
    expect((await get('/api/poll?rooms=lobby&rooms=twice&wait=0')).status).toBe(200);
    refused(await get('/api/poll?rooms=lobby&rooms=nowhere&wait=0'), 404, 'room_not_found');
    expect((await get('/api/poll?rooms=lobby&wait=0&wait=x')).status).toBe(200);
    refused(await get('/api/poll?rooms=lobby&wait=x&wait=0'), 400, 'invalid_field', 'wait');
    const res = await request(url)
      .post(MESSAGES)
      .set({ Cookie: person.cookie, Origin: url })
      .type('form')
      .send('text=a&text=b');
    refused(res, 400, 'invalid_field', 'text');
  });

  test('a cursor with line ends makes no line of a stream and no header', async () => {
    const evil = encodeURIComponent('x\n\nevent: message\ndata: evil\r\nid: 1');
    const stop = new AbortController();
    const res = await person.get(`/api/stream?rooms=lobby&after=${evil}`, { signal: stop.signal });
    let text = '';
    for await (const chunk of res.body as ReadableStream<Uint8Array>) {
      text += new TextDecoder().decode(chunk);
      if (text.includes('unknown-cursor')) break;
    }
    stop.abort();
    expect(text).not.toMatch(/^(data: evil|id: 1$)/m);
    const poll = await get(`/api/poll?rooms=lobby&wait=0&after=${evil}`);
    expect(poll.body.events).toMatchObject([{ kind: 'gap', reason: 'unknown-cursor' }]);
  });
});

describe('every refusal says what was wrong, with its own status', () => {
  test('no_session, on everything but the session itself', async () => {
    for (const path of [
      '/api/rooms',
      '/api/rooms/lobby',
      MESSAGES,
      '/api/poll?rooms=lobby&wait=0',
      '/api/stream?rooms=lobby',
    ])
      refused(await request(url).get(path), 401, 'no_session');
    for (const path of ['/api/rooms/lobby/join', '/api/rooms/lobby/leave', '/api/confirm'])
      refused(await postAsNobody(path, {}), 401, 'no_session');
    refused(await postAsNobody(MESSAGES, { text: 'a' }), 401, 'no_session');
    refused(await postAsNobody('/api/rooms', { room: 'a' }), 401, 'no_session');
    expect((await request(url).get('/api/session')).body).toEqual({ user: null });
  });

  test('no_session for a cookie that was made up or tampered with', async () => {
    const name = person.cookie.split('=')[0];
    const sid = sidOf(person);
    const forged = [
      `${name}=${sid}`,
      `${name}=s:${sid}`,
      `${name}=s:${sid}.AAAA`,
      `${person.cookie}x`,
      `${name}=`,
      `${name}=s%3A`,
    ];
    for (const cookie of forged)
      refused(await request(url).get('/api/rooms').set('Cookie', cookie), 401, 'no_session');
  });

  test('a cookie is good however it is written, until the log-out of its session', async () => {
    const dora = await Person.logIn(url);
    const [name, encoded] = dora.cookie.split('=') as [string, string];
    const decoded = decodeURIComponent(encoded);
    const odd = decoded.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
    const statuses = async () => {
      const found: number[] = [];
      for (const written of [encoded, decoded, odd, encoded, decoded, odd])
        found.push((await request(url).get('/api/rooms').set('Cookie', `${name}=${written}`)).status);
      return found;
    };
    expect(await statuses()).toEqual(Array(6).fill(200));
    expect((await dora.send('/api/session/end', {})).status).toBe(204);
    expect(await statuses()).toEqual(Array(6).fill(401));
  });

  test('not_found, inside the API and outside', async () => {
    for (const path of [
      '/api',
      '/api/nothing',
      '/api/rooms/lobby/nothing',
      '/nothing',
      '/page.js.map',
      '/../package.json',
      '/%2e%2e/package.json',
    ])
      refused(await get(path), 404, 'not_found');
    refused(await post('/api/nothing', {}), 404, 'not_found');
  });

  test('room_not_found', async () => {
    for (const path of [
      '/api/rooms/nowhere',
      '/api/rooms/nowhere/messages',
      '/api/poll?rooms=lobby,nowhere&wait=0',
      '/api/stream?rooms=nowhere',
    ])
      refused(await get(path), 404, 'room_not_found', 'room');
    for (const path of ['/api/rooms/nowhere/join', '/api/rooms/nowhere/leave'])
      refused(await post(path, {}), 404, 'room_not_found', 'room');
    refused(await post('/api/rooms/nowhere/messages', { text: 'a' }), 404, 'room_not_found', 'room');
  });

  test('method_not_allowed, with what is', async () => {
    const allowed = {
      '/api/session': 'GET, POST',
      '/api/session/end': 'POST',
      '/api/rooms': 'GET, POST',
      '/api/rooms/lobby': 'GET',
      '/api/rooms/lobby/join': 'POST',
      '/api/rooms/lobby/leave': 'POST',
      [MESSAGES]: 'GET, POST',
      '/api/stream': 'GET, POST',
      '/api/poll': 'GET, POST',
      '/api/confirm': 'POST',
    };
    for (const [path, methods] of Object.entries(allowed)) {
      for (const method of [
        'put',
        'delete',
        'patch',
        ...(methods === 'POST' ? (['get'] as const) : []),
      ] as const) {
        const res = await request(url)[method](path);
        refused(res, 405, 'method_not_allowed');
        expect(res.headers['allow']).toBe(methods);
      }
    }
  });

  test('room_exists, also for the lobby', async () => {
    expect((await post('/api/rooms', { room: 'once', title: 'Once' })).status).toBe(201);
    refused(await post('/api/rooms', { room: 'once', title: 'Again' }), 409, 'room_exists', 'room');
    refused(await post('/api/rooms', { room: 'lobby' }), 409, 'room_exists', 'room');
    expect((await get('/api/rooms/once')).body).toMatchObject({ title: 'Once', members: 1, isMember: true });
  });

  test('too_many_rooms', async () => {
    const guest = await Person.logIn((await serve({ maxRooms: 2 })).url);
    expect((await post('/api/rooms', { room: 'second' }, guest)).status).toBe(201);
    refused(await post('/api/rooms', { room: 'third' }, guest), 409, 'too_many_rooms');
    expect((await get('/api/rooms', guest)).body.rooms).toHaveLength(2);
  });

  test('body_too_large', async () => {
    refused(await post(MESSAGES, { text: 'x'.repeat(66_000) }), 413, 'body_too_large');
    const fields = Array.from({ length: 1100 }, (_, i) => `f${i}=1`).join('&');
    const form = await request(url).post(MESSAGES).set('Origin', url).type('form').send(fields);
    refused(form, 413, 'body_too_large');
  });

  test('unsupported_type', async () => {
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/xml',
      'application/octet-stream',
    ])
      refused(await post(MESSAGES, '{"text":"a"}').set('Content-Type', type), 415, 'unsupported_type');
    refused(
      await post(MESSAGES, '{}').set('Content-Type', 'application/json; charset=latin1'),
      415,
      'unsupported_type',
    );
    refused(await post(MESSAGES, '{}').set('Content-Encoding', 'gzip'), 415, 'unsupported_type');
  });

  test('too_fast, with Retry-After, for the one who was and nobody else', async () => {
    const { url: slow } = await serve({ postBurst: 3, postsPerSecond: 1 });
    const hasty = await Person.logIn(slow);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => post(MESSAGES, { text: `m${i}` }, hasty)),
    );
    const said = answers.filter(({ status }) => status === 201);
    const late = answers.filter(({ status }) => status !== 201);
    expect(said.length).toBeGreaterThanOrEqual(4);
    expect(late.length).toBeGreaterThan(0);
    for (const res of late) {
      refused(res, 429, 'too_fast');
      expect(Number(res.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(Number(res.headers['retry-after'])).toBe(res.body.error.retryAfter);
    }
    expect((await hasty.history()).events).toHaveLength(said.length);
    expect((await post(MESSAGES, { text: 'calm' }, await Person.logIn(slow))).status).toBe(201);
  });

  test('unavailable while Redis is away; a stream says so with 200, retry and bye', async () => {
    const own = await startTestRedis();
    const guest = await Person.logIn((await serve({}, own)).url);
    expect((await get('/readyz', guest)).status).toBe(200);
    await own.stop();
    await waitFor('not ready', async () => (await get('/readyz', guest)).status === 503);
    expect((await get('/healthz', guest)).status).toBe(200);
    const answers = [
      await post(MESSAGES, { text: 'a' }, guest),
      await post('/api/rooms', { room: 'a' }, guest),
      await post('/api/rooms/lobby/join', {}, guest),
      await post('/api/confirm', {}, guest),
      await postAsNobody('/api/session', { name: 'Late' }, guest.url),
      await get(MESSAGES, guest),
      await get('/api/session', guest),
      await get('/api/poll?rooms=lobby&wait=0', guest),
    ];
    for (const res of answers) {
      refused(res, 503, 'unavailable');
      expect(res.headers['retry-after']).toBe('1');
      expect(res.headers['set-cookie']).toBeUndefined();
    }
    const stream = await get('/api/stream?rooms=lobby', guest);
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toContain('text/event-stream');
    expect(stream.text).toMatch(/^retry: ?\d+$/m);
    expect(stream.text).toContain('"kind":"bye","code":"unavailable"');
  });

  test('unavailable while Redis is away, also to log in or out for who has a session', async () => {
    const own = await startTestRedis();
    const guest = await Person.logIn((await serve({}, own)).url);
    await own.stop();
    await waitFor('not ready', async () => (await get('/readyz', guest)).status === 503);
    refused(await post('/api/session', { name: 'Again' }, guest), 503, 'unavailable');
    refused(await post('/api/session/end', {}, guest), 503, 'unavailable');
  });
});

describe('only the site’s own pages may post', () => {
  const form = (fields: Record<string, string>, headers: Record<string, string> = {}, by = person) =>
    request(by.url)
      .post(MESSAGES)
      .set({ Cookie: by.cookie, ...headers })
      .type('form')
      .send(fields);

  test('a form of the same origin is let in, http or https, with or without the default port', async () => {
    const { host } = new URL(url);
    for (const origin of [url, `https://${host}`])
      expect((await form({ text: 'a' }, { Origin: origin })).status).toBe(201);
    expect(
      (await form({ text: 'a' }, { Host: 'Chat.example', Origin: 'https://chat.example:443' })).status,
    ).toBe(201);
  });

  test('what says it is a form but has no body is none', async () => {
    const gone = await Person.logIn(url);
    const { hostname, port } = new URL(url);
    const headers = { Cookie: gone.cookie, 'Content-Type': 'application/x-www-form-urlencoded' };
    const req = httpRequest({ hostname, port, path: '/api/session/end', method: 'POST', headers });
    req.removeHeader('Content-Length');
    req.removeHeader('Transfer-Encoding');
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    res.resume();
    expect(res.statusCode).toBe(204);
  });

  test('a GET’s body is passed over', async () => {
    const me = await Person.logIn(url);
    const res = await request(url).get(MESSAGES).set('Cookie', me.cookie).type('json').send('{"rooms"');
    expect(res.status).toBe(200);
  });

  test('a form without an origin needs the form token of its own session', async () => {
    refused(await form({ text: 'a' }), 403, 'origin_refused');
    refused(await form({ text: 'a', formToken: '' }), 403, 'origin_refused');
    refused(await form({ text: 'a', formToken: 'x'.repeat(43) }), 403, 'origin_refused');
    const { formToken } = (await get('/api/session')).body;
    const other = (await get('/api/session', await Person.logIn(url))).body.formToken;
    refused(await form({ text: 'a', formToken: other }), 403, 'origin_refused');
    expect((await form({ text: 'a', formToken })).status).toBe(201);
  });

  test('another origin, none to speak of or another port is refused, even with the form token', async () => {
    const { formToken } = (await get('/api/session')).body;
    const { hostname, host } = new URL(url);
    const foreign = [
      'null',
      'https://evil.example',
      `http://${hostname}:1`,
      `http://${host}.evil.example`,
      `http://${host}@evil.example`,
      'nonsense',
    ];
    for (const origin of foreign) {
      refused(await form({ text: 'a', formToken }, { Origin: origin }), 403, 'origin_refused');
      refused(await post(MESSAGES, { text: 'a' }).set('Origin', origin), 403, 'origin_refused');
      refused(
        await postAsNobody('/api/session', { name: 'Eve' }).set('Origin', origin),
        403,
        'origin_refused',
      );
      refused(await post('/api/session/end', {}).set('Origin', origin), 403, 'origin_refused');
    }
    expect((await get('/api/session')).body.user).toEqual(person.user);
  });

  test('Sec-Fetch-Site is heeded where there is no origin', async () => {
    for (const site of ['cross-site', 'same-site', 'nonsense'])
      refused(await post(MESSAGES, { text: 'a' }).set('Sec-Fetch-Site', site), 403, 'origin_refused');
    for (const site of ['same-origin', 'none'])
      expect((await post(MESSAGES, { text: 'a' }).set('Sec-Fetch-Site', site)).status).toBe(201);
    expect((await post(MESSAGES, { text: 'a' })).status).toBe(201);
  });

  test('publicUrl says what the origin is, whatever the Host, and allowedOrigins add to it', async () => {
    const { url: at } = await serve({
      publicUrl: 'https://chat.example/talk/',
      allowedOrigins: ['https://www.example'],
    });
    const guest = await Person.logIn(at);
    for (const origin of ['https://chat.example', 'https://www.example'])
      expect((await post(MESSAGES, { text: 'a' }, guest).set('Origin', origin)).status).toBe(201);
    for (const origin of [at, 'http://chat.example', 'https://chat.example:444', 'https://www.example.evil'])
      refused(await post(MESSAGES, { text: 'a' }, guest).set('Origin', origin), 403, 'origin_refused');
  });

  test('allowedOrigins add to the Host', async () => {
    const { url: at } = await serve({ allowedOrigins: ['https://www.example'] });
    const guest = await Person.logIn(at);
    for (const origin of [at, 'https://www.example'])
      expect((await post(MESSAGES, { text: 'a' }, guest).set('Origin', origin)).status).toBe(201);
    refused(
      await post(MESSAGES, { text: 'a' }, guest).set('Origin', 'http://www.example'),
      403,
      'origin_refused',
    );
  });
});

describe('sessions and names', () => {
  test('a name is one person’s at a time, however it is written', async () => {
    const { url: at } = await serve();
    const cases = [
      ['Alice', 'alice', 'ＡLICE', 'A\u200blice', 'al\u00adice\u2060', '  Alice '],
      ['straße', 'STRASSE', 'Strasse'],
      ['Zoë', 'ZOE\u0308'],
      ['Ann Lee', 'ann\u00a0 lee'],
    ];
    for (const [first, ...others] of cases) {
      expect((await postAsNobody('/api/session', { name: first }, at)).body.user.name).toBe(first);
      for (const name of others)
        refused(await postAsNobody('/api/session', { name }, at), 409, 'name_taken', 'name');
    }
  });

  test('of many who want a name at once, one gets it', async () => {
    const all = await Promise.all(
      Array.from({ length: 10 }, () => postAsNobody('/api/session', { name: 'Wanted' })),
    );
    expect(all.map(({ status }) => status).sort()).toEqual([201, ...Array(9).fill(409)]);
  });

  test('a name is free again after the log-out, and the session is gone', async () => {
    const bob = await Person.logIn(url, 'Bob');
    await post('/api/rooms/lobby/join', {}, bob);
    const { members } = (await get('/api/rooms/lobby')).body;
    const res = await post('/api/session/end', {}, bob);
    expect(res.status).toBe(204);
    expect(res.headers['set-cookie']?.[0]).toMatch(/^throughline\.sid=;.*Path=\/;.*1970/);
    refused(await get('/api/rooms', bob), 401, 'no_session');
    expect((await get('/api/session', bob)).body).toEqual({ user: null });
    expect((await get('/api/rooms/lobby')).body.members).toBe(members - 1);
    expect((await post('/api/session/end', {}, bob)).status).toBe(204);
    expect((await Person.logIn(url, 'BOB')).user.id).not.toBe(bob.user.id);
  });

  test('logging out without a session is no fault', async () => {
    expect((await postAsNobody('/api/session/end', {})).status).toBe(204);
  });

  test('the same browser logs in again under its own name: a new session id, and the old one is void', async () => {
    const carol = await Person.logIn(url, 'Carol');
    const res = await post('/api/session', { name: 'CAROL' }, carol);
    expect(res.status).toBe(201);
    const cookie = cookieOf(res);
    expect(cookie).not.toBe(carol.cookie);
    refused(await get('/api/rooms', carol), 401, 'no_session');
    expect((await request(url).get('/api/session').set('Cookie', cookie)).body.user.name).toBe('CAROL');
    refused(await postAsNobody('/api/session', { name: 'Carol' }), 409, 'name_taken');
    const again = await request(url).post('/api/session').set('Cookie', cookie).send({ name: 'Caroline' });
    expect(again.status).toBe(201);
    expect((await postAsNobody('/api/session', { name: 'Carol' })).status).toBe(201);
  });

  test('a session id that an attacker chose isn’t taken on', async () => {
    const dan = await Person.logIn(url, 'Dan');
    await post('/api/session/end', {}, dan);
    const res = await post('/api/session', { name: 'Dan' }, dan);
    expect(res.status).toBe(201);
    expect(res.headers['set-cookie']?.[0]).not.toContain(sidOf(dan));
    refused(await get('/api/rooms', dan), 401, 'no_session');
  });

  test('a name that is taken leaves the session as it was', async () => {
    refused(await post('/api/session', { name: (await Person.logIn(url)).user.name }), 409, 'name_taken');
    expect((await get('/api/session')).body.user).toEqual(person.user);
  });

  test('the cookie is HttpOnly, SameSite=Lax and for every path, and only log-in sets it', async () => {
    const res = await postAsNobody('/api/session', { name: 'Flags' });
    const [cookie, ...more] = res.headers['set-cookie'] as unknown as string[];
    expect(more).toEqual([]);
    expect(cookie).toMatch(/^throughline\.sid=s%3A/);
    expect((cookie as string).split('; ').slice(1).sort()).toEqual(['HttpOnly', 'Path=/', 'SameSite=Lax']);
    expect(res.body).toEqual({
      user: { id: expect.stringMatching(/^guest-/), name: 'Flags', guest: true },
      formToken: expect.any(String),
    });
    for (const path of [
      '/',
      '/api/session',
      '/api/rooms',
      MESSAGES,
      '/healthz',
      '/api/poll?rooms=lobby&wait=0',
    ])
      expect((await get(path)).headers['set-cookie']).toBeUndefined();
    expect((await post(MESSAGES, { text: 'a' })).headers['set-cookie']).toBeUndefined();
  });

  test('behind a trusted proxy that ends TLS the cookie is Secure', async () => {
    const { url: at } = await serve({ trustProxy: 1 });
    const res = await postAsNobody('/api/session', { name: 'Tess' }, at).set('X-Forwarded-Proto', 'https');
    expect(res.headers['set-cookie']?.[0]).toContain('Secure');
    const untrusting = await postAsNobody('/api/session', { name: 'Tess' }).set('X-Forwarded-Proto', 'https');
    expect(untrusting.headers['set-cookie']?.[0]).not.toContain('Secure');
  });

  describe('are never written by reading', () => {
    async function watched() {
      const { config, url: at } = await serve({ pollWaitMs: 200 });
      const guest = await Person.logIn(at);
      const keys = (await redis.client.keys(`${config.namespace}*`)).filter((key) =>
        key.endsWith(sidOf(guest)),
      );
      expect(keys).toHaveLength(1);
      const key = keys[0] as string;
      await redis.client.expire(key, 5000);
      const stored = await redis.client.get(key);
      const ttl = () => redis.client.ttl(key);
      return { guest, key, stored, ttl };
    }

    test('not by polls, history, streams and lists: neither value nor life changes', async () => {
      const { guest, key, stored, ttl } = await watched();
      for (const path of [
        '/api/session',
        '/api/rooms',
        '/api/rooms/lobby',
        MESSAGES,
        '/api/poll?rooms=lobby&wait=0',
        '/api/poll?rooms=lobby',
        '/api/poll?rooms=lobby&drip=1',
        '/',
      ])
        expect((await get(path, guest)).status).toBe(200);
      expect((await post('/api/poll', { rooms: 'lobby', wait: 0 }, guest)).status).toBe(200);
      for (const open of [
        (signal: AbortSignal) => guest.get('/api/stream?rooms=lobby', { signal }),
        (signal: AbortSignal) => guest.send('/api/stream', { rooms: 'lobby' }, { signal }),
      ]) {
        const stop = new AbortController();
        const res = await open(stop.signal);
        await (res.body as ReadableStream).getReader().read();
        stop.abort();
      }
      expect(await redis.client.get(key)).toBe(stored);
      expect(await ttl()).toBeGreaterThan(4900);
      expect(await ttl()).toBeLessThanOrEqual(5000);
    });

    test('but a confirmation lengthens its life, and so does a post; the value stays', async () => {
      for (const [path, body] of [
        ['/api/confirm', {}],
        [MESSAGES, { text: 'a' }],
      ] as const) {
        const { guest, key, stored, ttl } = await watched();
        expect((await post(path, body, guest)).status).toBeLessThan(300);
        await waitFor(`${path} to lengthen the life`, async () => (await ttl()) > 86_000);
        expect(await redis.client.get(key)).toBe(stored);
      }
    });
  });
});

describe('history and posts', () => {
  test('pages lead through all of a room both ways, and say when there is no more', async () => {
    const { url: at } = await serve();
    const guest = await Person.logIn(at);
    const ids: string[] = [];
    for (let i = 0; i < 10; i++) ids.push(await guest.post(`m${i}`));
    const idsOf = (page: { events: { id?: string }[] }) => page.events.map(({ id }) => id);

    const back: unknown[][] = [];
    for (let query = 'limit=4'; ; ) {
      const page = await guest.history(query);
      back.unshift(idsOf(page));
      expect(page.floor).toBe('0-0');
      if (!page.more) break;
      query = `limit=4&before=${page.events[0]?.id}`;
    }
    expect(back.map((page) => page.length)).toEqual([2, 4, 4]);
    expect(back.flat()).toEqual(ids);

    const forth: unknown[] = [];
    for (let after = '0-0', more = true; more; ) {
      const page = await guest.history(`limit=5&after=${after}`);
      forth.push(...idsOf(page));
      ({ more } = page);
      after = page.events.at(-1)?.id as string;
    }
    expect(forth).toEqual(ids);

    const { cursor } = await guest.history();
    expect(cursor).toBe(`${cursor.split('.')[0]}.${ids.at(-1)}`);
    expect(await guest.history(`after=${cursor}`)).toMatchObject({ events: [], more: false, cursor });
    expect(idsOf(await guest.history(`before=${cursor}&limit=1`))).toEqual([ids[8]]);
    expect(idsOf(await guest.history('limit=0'))).toEqual([ids[9]]);
    expect(idsOf(await guest.history('limit=100000'))).toEqual(ids);
  });

  test('the floor tells up to where a room’s log was trimmed', async () => {
    const { config, url: at } = await serve();
    const guest = await Person.logIn(at);
    expect(await guest.history()).toMatchObject({ events: [], more: false, floor: '0-0' });
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) ids.push(await guest.post(`m${i}`));
    await redis.client.xtrim(`${config.namespace}:{0}:log:main/lobby`, 'MAXLEN', 2);
    expect(await guest.history()).toMatchObject({
      floor: ids[3],
      more: false,
      events: [{ id: ids[4] }, { id: ids[5] }],
    });
    expect((await guest.history('after=0-0')).floor).toBe(ids[3]);
  });

  test('a page stays below 48 KB and goes on where it was cut, both ways', async () => {
    const guest = await Person.logIn((await serve()).url);
    for (let i = 0; i < 5; i++) await guest.post('😀'.repeat(4000));
    for (const direction of ['', '&after=0-0']) {
      const res = await get(`${MESSAGES}?limit=200${direction}`, guest);
      expect(Buffer.byteLength(res.text)).toBeLessThan(48 * 1024);
      expect(res.body.more).toBe(true);
      const ns = res.body.events.map(({ n }: { n: number }) => n);
      expect(ns).toEqual(direction === '' ? [4, 5] : [1, 2]);
    }
  });

  test('the same post again is the same message, another text is refused', async () => {
    const clientId = 'idempotent-0123456789';
    const first = await post(MESSAGES, { text: 'once', clientId });
    expect(first.status).toBe(201);
    const second = await post(MESSAGES, { text: 'once', clientId });
    expect([second.status, second.body]).toEqual([200, first.body]);
    const byHeader = await post(MESSAGES, { text: 'once' }).set('Idempotency-Key', clientId);
    expect([byHeader.status, byHeader.body]).toEqual([200, first.body]);
    expect((await post(MESSAGES, { text: 'once', clientId }).set('Idempotency-Key', clientId)).status).toBe(
      200,
    );
    refused(await post(MESSAGES, { text: 'twice', clientId }), 409, 'client_id_reused');
    refused(
      await post(MESSAGES, { text: 'twice' }).set('Idempotency-Key', clientId),
      409,
      'client_id_reused',
    );
    refused(
      await post(MESSAGES, { text: 'once', clientId }).set('Idempotency-Key', `${clientId}x`),
      400,
      'invalid_field',
      'clientId',
    );
    refused(
      await post(MESSAGES, { text: 'once' }).set('Idempotency-Key', 'short'),
      400,
      'invalid_field',
      'clientId',
    );
    const { events } = await person.history();
    expect(events.filter(({ clientId: its }) => its === clientId)).toMatchObject([
      { id: first.body.id, text: 'once' },
    ]);
  });

  test('a clientId is its user’s and its room’s own', async () => {
    const clientId = 'same-everywhere-0123';
    await post('/api/rooms', { room: 'elsewhere' });
    const here = await post(MESSAGES, { text: 'here', clientId });
    const there = await post('/api/rooms/elsewhere/messages', { text: 'there', clientId });
    const other = await post(MESSAGES, { text: 'other', clientId }, await Person.logIn(url));
    expect([here.status, there.status, other.status]).toEqual([201, 201, 201]);
    expect(new Set([here, there, other].map(({ body }) => body.id)).size).toBe(3);
  });

  test('sent many times at once, one message is said', async () => {
    const body = { text: 'burst', clientId: 'burst-0123456789abcd' };
    const all = await Promise.all(Array.from({ length: 10 }, () => post(MESSAGES, body)));
    expect(all.map(({ status }) => status).sort()).toEqual([...Array(9).fill(200), 201]);
    expect(new Set(all.map((res) => res.body.id)).size).toBe(1);
  });
});

describe('what is around the API', () => {
  test('the page comes with a policy that lets in nothing from elsewhere, and no inline script', async () => {
    const res = await request(url).get('/');
    expect(res.status).toBe(200);
    expect(res.headers['content-type']).toContain('text/html');
    const policy = res.headers['content-security-policy'] as string;
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'self'",
    ])
      expect(policy.split(';')).toContain(rule);
    expect(policy).not.toContain('unsafe');
    expect(res.headers['x-content-type-options']).toBe('nosniff');
    expect(res.headers['strict-transport-security']).toBeUndefined();
    expect(res.headers['x-powered-by']).toBeUndefined();
  });

  test('all of the API bears its mark and is never stored, refusals too', async () => {
    const answers = [
      await get('/api/session'),
      await get(MESSAGES),
      await get('/api/nothing'),
      await request(url).get('/api/rooms'),
      await request(url).get('/api/stream?rooms=lobby'),
      await get('/api/stream?rooms=nowhere'),
      await get('/api/stream?rooms='),
      await request(url).put('/api/rooms'),
      await post(MESSAGES, '{'),
    ];
    for (const { headers } of answers) {
      expect(headers['cache-control']).toContain('no-store');
      expect(headers['throughline']).toBe('1');
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['vary']).toBe('Origin');
      expect(headers['content-type']).toContain('application/json');
    }
    const stop = new AbortController();
    // Without an origin it passes no middleware.
    for (const headers of [{}, { Origin: url }]) {
      const stream = await person.get('/api/stream?rooms=lobby', { headers, signal: stop.signal });
      expect(Object.fromEntries(stream.headers)).toEqual({
        'cache-control': 'no-cache, no-store, no-transform',
        connection: 'keep-alive',
        'content-encoding': 'identity',
        'content-type': 'text/event-stream; charset=utf-8',
        date: expect.any(String),
        'keep-alive': 'timeout=75',
        throughline: '1',
        'transfer-encoding': 'chunked',
        vary: 'Origin',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
      });
    }
    stop.abort();
  });

  test('healthz and readyz need no log-in', async () => {
    expect((await request(url).get('/healthz')).body).toEqual({ status: 'up' });
    const ready = await request(url).get('/readyz');
    expect([ready.status, ready.body]).toEqual([200, { status: 'ready' }]);
  });

  test('under a base path everything is there, and nothing beside it', async () => {
    const { url: at } = await serve({ basePath: '/chat' });
    expect(at).toMatch(/\/chat$/);
    const { origin } = new URL(at);
    const guest = await Person.logIn(at);
    const logIn = await postAsNobody('/api/session', { name: 'Base' }, at);
    expect(logIn.headers['set-cookie']?.[0]).toContain('Path=/chat;');
    for (const path of [
      '/',
      '/page.css',
      '/healthz',
      '/readyz',
      '/api/session',
      '/api/rooms',
      '/api/rooms/lobby',
      MESSAGES,
      '/api/poll?rooms=lobby&wait=0',
    ])
      expect([path, (await get(path, guest)).status]).toEqual([path, 200]);
    expect((await post(MESSAGES, { text: 'a' }, guest)).status).toBe(201);
    expect((await post('/api/rooms', { room: 'a' }, guest)).status).toBe(201);
    expect((await post('/api/rooms/lobby/join', {}, guest)).status).toBe(200);
    expect((await post('/api/rooms/lobby/leave', {}, guest)).status).toBe(200);
    expect((await post('/api/confirm', {}, guest)).status).toBe(204);
    const stop = new AbortController();
    expect((await guest.get('/api/stream?rooms=lobby', { signal: stop.signal })).status).toBe(200);
    stop.abort();
    const ended = await post('/api/session/end', {}, guest);
    expect(ended.status).toBe(204);
    expect(ended.headers['set-cookie']?.[0]).toContain('Path=/chat;');
    for (const path of ['/', '/api/session', '/healthz', '/chatter'])
      expect((await request(origin).get(path)).status).toBe(404);
    const redirect = await request(origin).get('/chat');
    expect([redirect.status, redirect.headers['location']]).toEqual([302, './chat/']);
    expect((await request(origin).get('/chat?a=b&c=%0D%0A')).headers['location']).toBe(
      './chat/?a=b&c=%0D%0A',
    );
  });
});

describe('mounted in an application that has its own log-in', () => {
  async function host(options: ThroughlineOptions = {}, before: express.RequestHandler[] = []) {
    const { namespace } = testConfig(redis);
    const chat = await createThroughline({
      user: (req) => {
        const id = req.get('x-user');
        return id === undefined ? undefined : { id, name: `Name of ${id}` };
      },
      redisUrl: redis.path,
      namespace,
      basePath: '/talk',
      log: pino({ level: 'silent' }),
      ...options,
    });
    const app = express();
    app.use(
      session({ name: 'host.sid', secret: 'host', resave: false, saveUninitialized: false }),
      ...before,
    );
    app.get('/me', (req, res) => {
      const its = req.session as unknown as { visits?: number };
      its.visits = (its.visits ?? 0) + 1;
      res.json({ visits: its.visits });
    });
    app.use('/talk', chat.router);
    app.get('/broken', () => {
      throw new Error('the host’s own');
    });
    app.use((_req, res) => void res.status(404).json({ host: 'nothing' }));
    app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
      res.status(500).json({ host: error.message });
    });
    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(async () => {
      await chat.close();
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test('a stream’s head is whole, and whatever the application wraps writing it with sees all of it', async () => {
    const seen: unknown[] = [];
    // As packages do that look at an answer’s headers at the last moment; some know lists only of pairs.
    const wrap: RequestHandler = (_req, res, next) => {
      const { writeHead } = res;
      res.writeHead = ((status: number, headers?: object) => {
        expect(Array.isArray(headers)).toBe(false);
        for (const [name, value] of Object.entries(headers ?? {})) res.setHeader(name, value);
        seen.push(res.getHeader('content-type'), res.getHeader('cache-control'));
        return writeHead.call(res, status);
      }) as typeof writeHead;
      res.setHeader('X-Of-The-Host', 'yes');
      next();
    };
    const origin = await host({}, [wrap]);
    const stop = new AbortController();
    const stream = await fetch(`${origin}/talk/api/stream?rooms=lobby`, {
      headers: { 'x-user': 'ada' },
      signal: stop.signal,
    });
    expect(stream.status).toBe(200);
    expect(seen).toEqual(['text/event-stream; charset=utf-8', 'no-cache, no-store, no-transform']);
    for (const [name, value] of [
      ['x-of-the-host', 'yes'],
      ['throughline', '1'],
      ['vary', 'Origin'],
      ['content-encoding', 'identity'],
      ['x-accel-buffering', 'no'],
    ] as const)
      expect(stream.headers.get(name)).toBe(value);
    stop.abort();
  });

  test('its users are known by their ids, and its session is untouched', async () => {
    const at = await host();
    const me = await request(at).get('/me');
    const cookie = cookieOf(me);
    const as = { 'X-User': 'user/42', Cookie: cookie };
    const answers = [
      await request(at).get('/talk/api/session').set(as),
      await request(at).post(`/talk${MESSAGES}`).set(as).send({ text: 'hello' }),
      await request(at).get(`/talk${MESSAGES}`).set(as),
      await request(at).get('/talk/api/poll?rooms=lobby&wait=0').set(as),
      await request(at).post('/talk/api/rooms/lobby/join').set(as).send({}),
      await request(at).post('/talk/api/confirm').set(as).send({}),
      await request(at).get('/talk/').set(as),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 201, 200, 200, 200, 204, 200]);
    for (const { headers } of answers) expect(headers['set-cookie']).toBeUndefined();
    const user = { id: 'user/42', name: 'Name of user/42', guest: false };
    expect(answers[0]?.body).toEqual({ user });
    expect(answers[2]?.body.events).toMatchObject([{ text: 'hello', user, n: 1 }]);
    expect((await request(at).get('/me').set('Cookie', cookie)).body).toEqual({ visits: 2 });
  });

  test('its users are members for good, since there is no log-in of the chat’s own that keeps them so', async () => {
    const { namespace } = testConfig(redis);
    const at = await host({ namespace });
    const joined = await request(at).post('/talk/api/rooms/lobby/join').set('X-User', '42').send({});
    expect(joined.body).toMatchObject({ members: 1, isMember: true });
    expect(await redis.client.zscore(`${namespace}:{0}:members:main/lobby`, 'main/42')).toBe('inf');
    expect(await redis.client.pttl(`${namespace}:{0}:joined:main/42`)).toBe(-1);
  });

  test('nobody is let in whom it doesn’t know, and there is no log-in of the chat’s own', async () => {
    const at = await host();
    refused(await request(at).get('/talk/api/rooms'), 401, 'no_session');
    refused(await request(at).post(`/talk${MESSAGES}`).send({ text: 'a' }), 401, 'no_session');
    refused(await request(at).get('/talk/api/stream?rooms=lobby'), 401, 'no_session');
    expect((await request(at).get('/talk/api/session')).body).toEqual({ user: null });
    refused(await request(at).post('/talk/api/session').send({ name: 'Eve' }), 405, 'method_not_allowed');
    refused(await request(at).post('/talk/api/session/end').send({}), 404, 'not_found');
  });

  test.each(['', '&after=e.1-1'])(
    'while Redis is away its readers are told so, and that it will pass%s',
    async (after) => {
      const own = await startTestRedis();
      const at = await host({ redisUrl: own.path });
      const as = { 'X-User': 'u' };
      expect((await request(at).get('/talk/api/poll?rooms=lobby&wait=0').set(as)).status).toBe(200);
      await own.stop();
      const poll = await request(at).get(`/talk/api/poll?rooms=lobby&wait=0${after}`).set(as);
      refused(poll, 503, 'unavailable');
      const stream = await request(at).get(`/talk/api/stream?rooms=lobby${after}`).set(as);
      expect([stream.status, stream.text]).toEqual([200, expect.stringContaining('"code":"unavailable"')]);
    },
  );

  test('a revocation that is heard ends the streams of the user whom it names, and nobody else’s', async () => {
    const { namespace } = testConfig(redis);
    const at = await host({ namespace });
    const stop = new AbortController();
    const listen = async (id: string): Promise<() => string> => {
      const stream = await fetch(`${at}/talk/api/stream?rooms=lobby`, {
        headers: { 'X-User': id },
        signal: stop.signal,
      });
      let told = '';
      (async () => {
        for await (const chunk of stream.body as AsyncIterable<Uint8Array>) told += Buffer.from(chunk);
      })().catch(() => {});
      await waitFor('hello', () => told.includes('hello'));
      return () => told;
    };
    const [revoked, other] = [await listen('u7'), await listen('u8')];
    const entry = ['to', 'user:main/u7', 'kind', 'revoke', 'before', '0-0', 'data', '{}'];
    await redis.client.xadd(`${namespace}:{0}:journal`, '*', ...entry);
    await waitFor('the stream’s end', () => revoked().includes('"code":"session_ended"'), 5000);
    await request(at).post(`/talk${MESSAGES}`).set('X-User', 'u8').send({ text: 'after' });
    await waitFor('what is said afterwards', () => other().includes('"text":"after"'), 5000);
    stop.abort();
    expect(other()).not.toContain('event: bye');
  });

  test('a stream is confirmed in the name of the user who confirms it', async () => {
    const { namespace } = testConfig(redis);
    const at = await host({ namespace });
    const nonce = 'a-nonce-of-sixteen';
    const confirmed = await request(at).post('/talk/api/confirm').set('X-User', 'u7').send({ nonce });
    expect(confirmed.status).toBe(204);
    expect(await redis.client.get(`${namespace}:lease:${nonce}`)).toBe('main/u7');
  });

  test('where a revocation went by unheard a stream ends, since only a new request says whether the host still knows its user', async () => {
    const { namespace } = testConfig(redis);
    const at = await host({ namespace, byeSpreadMs: 100 });
    const stop = new AbortController();
    const stream = await fetch(`${at}/talk/api/stream?rooms=lobby`, {
      headers: { 'X-User': 'u7' },
      signal: stop.signal,
    });
    let told = '';
    const ended = (async () => {
      for await (const chunk of stream.body as AsyncIterable<Uint8Array>) told += Buffer.from(chunk);
    })();
    ended.catch(() => {});
    await waitFor('hello', () => told.includes('hello'));
    const journal = `${namespace}:{0}:journal`;
    await redis.client
      .multi()
      .xadd(journal, '*', 'to', 'user:main/u7', 'kind', 'revoke', 'before', '0-0', 'data', '{}')
      .xtrim(journal, 'MAXLEN', 0)
      .exec();
    await request(at).post(`/talk${MESSAGES}`).set('X-User', 'u8').send({ text: 'after' });
    await waitFor('the stream’s end', () => told.includes('event: bye'), 5000).finally(() => stop.abort());
    expect(told).toMatch(/"code":"rights_changed"/);
  });

  test('its own routes, errors and 404s stay its own, and the chat’s are the chat’s', async () => {
    const at = await host();
    expect((await request(at).get('/broken')).body).toEqual({ host: 'the host’s own' });
    const beside = await request(at).get('/nothing');
    expect([beside.status, beside.body]).toEqual([404, { host: 'nothing' }]);
    expect(beside.headers['content-security-policy']).toBeUndefined();
    expect(beside.headers['throughline']).toBeUndefined();
    refused(await request(at).get('/talk/nothing'), 404, 'not_found');
    refused(await request(at).get('/talk/api/nothing'), 404, 'not_found');
    expect((await request(at).get('/talk')).headers['location']).toBe('./talk/');
  });

  test('a form is read where a parser of another kind has left an empty body', async () => {
    const at = await host({}, [
      (req, _res, next) => {
        req.body ??= {};
        next();
      },
    ]);
    const as = { 'X-User': 'u', Origin: at };
    const res = await request(at).post(`/talk${MESSAGES}`).set(as).type('form').send({ text: 'a form' });
    expect(res.status).toBe(201);
  });

  test('it may have parsed the body already', async () => {
    const at = await host({}, [express.json(), express.urlencoded({ extended: true })]);
    const res = await request(at).post(`/talk${MESSAGES}`).set('X-User', 'u').send({ text: 'parsed' });
    expect(res.status).toBe(201);
    expect((await request(at).get(`/talk${MESSAGES}`).set('X-User', 'u')).body.events).toMatchObject([
      { text: 'parsed' },
    ]);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('secret');
      },
    ],
    ['answers nonsense', () => ({ id: 7 })],
    ['answers a name with a line break', () => ({ id: 'a', name: 'a\nb' })],
    ['answers no id', () => ({ id: '', name: 'a' })],
    ['rejects', () => Promise.reject(new Error('secret'))],
  ])('a user hook that %s is an internal fault that tells nothing', async (_what, user) => {
    const at = await host({ user });
    const res = await request(at).get('/talk/api/rooms');
    refused(res, 500, 'internal');
    expect(res.text).not.toContain('secret');
  });
});

describe('several handlers as one', () => {
  const ask = async (...handlers: RequestHandler[]) => {
    const app = express();
    const told: unknown[] = [];
    app.use(inTurn((_req, _res, next) => next(), ...handlers));
    app.use((_req, res) => void res.json('went on'));
    app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
      told.push(error);
      res.json('failed');
    });
    const { body } = await request(app).get('/');
    return { body, told };
  };

  test('go on one after the other, also when one takes its time', async () => {
    const order: number[] = [];
    const late: RequestHandler = (_req, _res, next) => {
      order.push(1);
      setTimeout(next, 5);
    };
    const { body } = await ask(late, async (_req, _res, next) => {
      order.push(2);
      await undefined;
      next();
    });
    expect({ body, order }).toEqual({ body: 'went on', order: [1, 2] });
  });

  test('go on where the router would, and never past one that failed', async () => {
    const guard: RequestHandler = (_req, res) => void res.json('guarded');
    for (const word of [undefined, null, 'route'])
      expect((await ask((_req, _res, next) => next(word), guard)).body).toBe('guarded');
    expect(await ask(() => Promise.reject(), guard)).toMatchObject({ body: 'failed' });
    const leave: RequestHandler = (_req, _res, next) => next('router');
    const app = express();
    const inner = express.Router();
    inner.use(inTurn(leave, guard));
    app.use(inner, (_req, res) => void res.json('left'));
    expect((await request(app).get('/')).body).toBe('left');
  });

  test('end with the first that answers, throws, rejects or says so', async () => {
    const never: RequestHandler = () => {
      throw new Error('must not be called');
    };
    expect((await ask((_req, res) => void res.json('answered'), never)).body).toBe('answered');
    const wrong = new Error('wrong');
    const failing: RequestHandler[] = [
      () => {
        throw wrong;
      },
      () => Promise.reject(wrong),
      (_req, _res, next) => next(wrong),
    ];
    for (const handler of failing) {
      expect(await ask(handler, never)).toEqual({ body: 'failed', told: [wrong] });
    }
  });
});

test('HEAD opens no stream and no poll', async () => {
  const { url } = await serve();
  const guest = await Person.logIn(url);
  for (const path of ['/api/stream?rooms=lobby', '/api/poll?rooms=lobby']) {
    expect((await guest.get(path, { method: 'HEAD' })).status).toBe(405);
  }
});

test('history can be paged from the very ends of the ids', async () => {
  const { url } = await serve();
  const guest = await Person.logIn(url);
  await guest.post('hello');
  const max = '18446744073709551615-18446744073709551615';
  const texts = async (query: string) => (await guest.history(query)).events.map(({ text }) => text);
  expect(await texts('before=0-0')).toEqual([]);
  expect(await texts('after=0-0')).toEqual(['hello']);
  expect(await texts(`after=${max}`)).toEqual([]);
  expect(await texts(`before=${max}`)).toEqual(['hello']);
});

test('the log has a line for each request, and none at info for a post that was accepted', async () => {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  const posting = '/api/rooms/lobby/messages';
  for (const level of ['info', 'debug']) {
    const server = await startServer(testConfig(redis), pino({ level }, { write }));
    const person = await Person.logIn(server.url);
    await person.post('secret');
    await person.send(posting, { text: '' });
    await server.close();
  }
  const facts = lines
    .filter(({ msg }) => msg === 'request')
    .map(({ method, path, status }) => [method, path, status]);
  const [session, accepted, refused] = [
    ['POST', '/api/session', 201],
    ['POST', posting, 201],
    ['POST', posting, 400],
  ];
  expect(facts).toEqual([session, refused, session, accepted, refused]);
  expect(JSON.stringify(lines)).not.toContain('secret');
});

test('the log has one line for each stream, once it is over', async () => {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  const server = await startServer(testConfig(redis), pino({ level: 'info' }, { write }));
  const told = () =>
    lines
      .filter(({ path }) => path === '/api/stream')
      .map(({ method, path, status, ms }) => {
        expect(ms).toBeGreaterThanOrEqual(0);
        return `${method} ${path} ${status}`;
      });
  const person = await Person.logIn(server.url);
  const path = '/api/stream?rooms=lobby';
  const expected: string[] = [];
  const isTold = async (line: string) => {
    expected.push(line);
    await waitFor(`the line ${line}`, () => told().length >= expected.length);
    expect(told()).toEqual(expected);
  };
  const leave = async (init: RequestInit) => {
    const stop = new AbortController();
    await person.get(path, { ...init, signal: stop.signal });
    await waitFor('the reader', () => server.readers === 1);
    expect(told()).toEqual(expected);
    stop.abort();
  };
  await leave({});
  await isTold('GET /api/stream 200');
  await leave({ headers: { Origin: server.url } });
  await isTold('GET /api/stream 200');
  await leave({ method: 'POST', headers: { Origin: server.url } });
  await isTold('POST /api/stream 200');
  // Of HTTP/1.0 the response itself is what streams.
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${path} HTTP/1.0\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\n`);
  await waitFor('the reader', () => server.readers === 1);
  socket.destroy();
  await isTold('GET /api/stream 200');
  for (const headers of [{}, { Origin: server.url }]) {
    await Person.nobody(server.url).get(path, { headers });
    await isTold('GET /api/stream 401');
  }
  const stream = await person.get(path);
  await person.send('/api/session/end', {});
  expect(await stream.text()).toContain('"code":"session_ended"');
  await isTold('GET /api/stream 200');
  await server.close();
  expect(told()).toEqual(expected);
});

test('of a failed command the log tells what failed, and not what was sent with it', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(line) });
  const failed = await redis.client.call('EVAL', 'error()', 0, 'private').catch((error: unknown) => error);
  expect(JSON.stringify(failed)).toContain('private');
  log.warn({ err: withoutCommand(failed) }, 'tried');
  expect(lines.at(-1)).toMatch(/"err":\{"type":"Error","message":"ERR [^"]*","stack":"ReplyError: ERR/);
  expect(lines.join()).not.toContain('private');
});
