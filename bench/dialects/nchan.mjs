// How nginx with nchan is spoken to (sides/nchan.mjs has its locations). It knows no sessions: whoever asks may read and post.
import { PollReader } from '../load/poll-reader.mjs';
import { spread } from '../load/requester.mjs';
import { eventsOf, StreamReader } from '../load/stream-reader.mjs';
import { messageOf } from './message.mjs';

const ACCEPT = 'Accept: text/event-stream\r\n';

export class NchanDialect {
  #port;
  #posts = 0;
  #firsts = new Map();

  constructor({ port }) {
    this.#port = port;
  }

  /** A first message in each room: polls go on from it, so that none is missed between two of them. */
  async prepare({ rooms, isPolling }) {
    if (!isPolling) return;
    await spread(this.#port, rooms.length, async (requester, i) => {
      const { body } = await requester.ask('POST', `/pub/${rooms[i]}`, '', '{"kind":"first"}');
      this.#firsts.set(rooms[i], /last message id: (\d+):(\d+)/.exec(body));
    });
  }

  openReader(_index, room, hooks, { after, isPolling } = {}) {
    const get = (path, headers) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n${headers}\r\n`;
    if (!isPolling) {
      const from = after === undefined ? '' : `Last-Event-ID: ${after}\r\n`;
      return new StreamReader(this.#port, get(`/sub/${room}`, `${ACCEPT}${from}`), { room, ...hooks });
    }
    const [, seconds, tag] = this.#firsts.get(room);
    const ask = (time, etag) =>
      get(`/poll/${room}`, `If-Modified-Since: ${time}\r\nIf-None-Match: ${etag}\r\n`);
    return new PollReader(
      this.#port,
      {
        first: ask(new Date(Number(seconds) * 1000).toUTCString(), tag),
        next: (head) =>
          ask(/\r\nlast-modified: ([^\r]*)/i.exec(head)[1], /\r\netag: ([^\r]*)/i.exec(head)[1]),
        isOpenAtOnce: true,
      },
      { room, ...hooks },
    );
  }

  async post(requester, room, text) {
    const answer = await requester.ask(
      'POST',
      `/pub/${room}`,
      '',
      messageOf(room, text, this.#posts++ % 5000),
    );
    if (answer.status !== 201 && answer.status !== 202)
      throw new Error(`a post was answered ${answer.head} ${answer.body}`);
    return answer;
  }

  async cursorAfter(answer) {
    return { after: /last message id: (\S+)/.exec(answer.body)[1] };
  }

  eventsOf(reader, isPolling) {
    if (isPolling) return reader.kept.map((body) => ({ data: JSON.parse(body) }));
    return eventsOf(Buffer.concat(reader.kept));
  }
}
