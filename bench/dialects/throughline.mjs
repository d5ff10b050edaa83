// How Throughline is spoken to: log-in, posts, streams, long-polls. Every reader and every post has a session; posts go
// through the sessions in turn, so that the pace which the defaults allow each user is kept.
import { randomUUID } from 'node:crypto';
import { PollReader } from '../load/poll-reader.mjs';
import { spread } from '../load/requester.mjs';
import { eventsOf, StreamReader } from '../load/stream-reader.mjs';

const CURSOR = Buffer.from('"cursor":"');

export class ThroughlineDialect {
  #port;
  #cookies = [];
  #posts = 0;
  #readings = 0;

  constructor({ port }) {
    this.#port = port;
  }

  async prepare({ people, rooms }) {
    await spread(this.#port, people, async (requester, i) => {
      const answer = await requester.ask('POST', '/api/session', '', JSON.stringify({ name: `bench ${i}` }));
      if (answer.status !== 201) throw new Error(`log-in: ${answer.head} ${answer.body}`);
      this.#cookies[i] = `Cookie: ${/\r\nset-cookie: ([^;]+)/i.exec(answer.head)[1]}\r\n`;
    });
    const others = rooms.filter((room) => room !== 'lobby');
    await spread(this.#port, others.length, async (requester, i) => {
      const answer = await requester.ask(
        'POST',
        '/api/rooms',
        this.#cookie(i),
        JSON.stringify({ room: others[i] }),
      );
      if (answer.status !== 201) throw new Error(`a room: ${answer.head} ${answer.body}`);
    });
  }

  openReader(index, room, hooks, { after, isPolling } = {}) {
    const cookie = this.#cookie(index);
    // As our client does it, no query is like another.
    const get = (path) =>
      `GET ${path}&t=${this.#readings++} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n${cookie}\r\n`;
    if (!isPolling) {
      const from = after === undefined ? '' : `&after=${after}`;
      return new StreamReader(this.#port, get(`/api/stream?rooms=${room}${from}`), { room, ...hooks });
    }
    return new PollReader(
      this.#port,
      {
        first: get(`/api/poll?rooms=${room}&wait=0`),
        next: (_head, body, reader) => {
          reader.open();
          const at = body.lastIndexOf(CURSOR) + CURSOR.length;
          return get(`/api/poll?rooms=${room}&after=${body.latin1Slice(at, body.indexOf(0x22, at))}`);
        },
      },
      { room, ...hooks },
    );
  }

  /** Posts over a connection; resolves with the message's id. */
  async post(requester, room, text) {
    const path = `/api/rooms/${room}/messages`;
    const answer = await requester.ask('POST', path, this.#cookie(this.#posts++), JSON.stringify({ text }));
    if (answer.status !== 201) throw new Error(`a post was answered ${answer.head} ${answer.body}`);
    return answer;
  }

  /** All people confirm a stream once, each in one of the rooms; answers how many those are. */
  async confirmAll(rooms, connections) {
    await spread(
      this.#port,
      this.#cookies.length,
      async (requester, i) => {
        const body = JSON.stringify({ nonce: randomUUID(), rooms: rooms[i % rooms.length] });
        const answer = await requester.ask('POST', '/api/confirm', this.#cookie(i), body);
        if (answer.status !== 204)
          throw new Error(`a confirmation was answered ${answer.head} ${answer.body}`);
      },
      connections,
    );
    return this.#cookies.length;
  }

  /** A page of 50 messages, from the oldest on. */
  async oldestPage(requester, room) {
    const path = `/api/rooms/${room}/messages?after=0-0&limit=50`;
    const answer = await requester.ask('GET', path, this.#cookie(this.#posts++));
    if (answer.status !== 200) throw new Error(`a page was answered ${answer.head} ${answer.body}`);
  }

  /** Where a reader goes on that had everything up to a post. */
  async cursorAfter(answer, requester, room) {
    const { id } = JSON.parse(answer.body);
    const page = await requester.ask('GET', `/api/rooms/${room}/messages?limit=1`, this.#cookie(0));
    return { after: `${JSON.parse(page.body).cursor.split('.')[0]}.${id}` };
  }

  /** The messages that a kept reader got. */
  eventsOf(reader, isPolling) {
    if (isPolling) return reader.kept.flatMap((body) => JSON.parse(body).events.map((data) => ({ data })));
    return eventsOf(Buffer.concat(reader.kept));
  }

  #cookie(index) {
    return this.#cookies[index % this.#cookies.length];
  }
}
