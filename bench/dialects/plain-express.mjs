// How the plain Express app (plain-express.mjs) is spoken to. It has one room and no sessions.
import { eventsOf, StreamReader } from '../load/stream-reader.mjs';

export class PlainExpressDialect {
  #port;
  #posts = 0;

  constructor({ port }) {
    this.#port = port;
  }

  async prepare() {}

  openReader(_index, room, hooks, { after } = {}) {
    const path = after === undefined ? '/stream' : `/stream?after=${after}`;
    const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n\r\n`;
    return new StreamReader(this.#port, request, { room, ...hooks });
  }

  async post(requester, _room, text) {
    const body = JSON.stringify({ name: `bench ${this.#posts++ % 5000}`, text });
    const answer = await requester.ask('POST', '/messages', '', body);
    if (answer.status !== 201) throw new Error(`a post was answered ${answer.head} ${answer.body}`);
    return answer;
  }

  async cursorAfter(answer) {
    return { after: JSON.parse(answer.body).id };
  }

  eventsOf(reader) {
    return eventsOf(Buffer.concat(reader.kept));
  }
}
