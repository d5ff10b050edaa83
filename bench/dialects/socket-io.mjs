// How the Socket.IO server (peers/socket-io.mjs) is spoken to: each reader is a client of its own; posts are emits with an
// acknowledgement, over a client for each connection.
import { PollReader } from '../load/poll-reader.mjs';
import { packetsOf, SocketIoReader } from '../load/socket-io-reader.mjs';

const SEPARATOR = '\x1e';

export class SocketIoDialect {
  #port;

  constructor({ port }) {
    this.#port = port;
  }

  async prepare() {}

  openReader(_index, room, hooks, { recover, isPolling } = {}) {
    if (!isPolling) return new SocketIoReader(this.#port, { room, recover, ...hooks });
    const path = `/socket.io/?EIO=4&transport=polling&room=${room}`;
    let sid;
    const get = () =>
      `GET ${path}${sid ? `&sid=${sid}` : ''} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n\r\n`;
    const say = (packet) =>
      `POST ${path}&sid=${sid} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\nContent-Type: text/plain\r\nContent-Length: ${packet.length}\r\n\r\n${packet}`;
    return new PollReader(
      this.#port,
      {
        first: get(),
        next: (_head, body, reader) => {
          if (sid === undefined) {
            ({ sid } = JSON.parse(body.toString().slice(1)));
            return say('40');
          }
          if (!reader.isOpen && body.toString('latin1', 0, 3) === '40{') reader.open();
          const hasPing =
            body[0] === 0x32 ||
            body.toString('latin1', Math.max(0, body.length - 2)) === `${SEPARATOR}2` ||
            body.includes(`${SEPARATOR}2${SEPARATOR}`);
          return hasPing ? say('3') : get();
        },
      },
      { room, ...hooks },
    );
  }

  /** Clients that post are in no room, so they hear nothing. */
  openPoster(onBroken) {
    return new Promise((resolve) => {
      const client = new SocketIoReader(this.#port, {
        room: '',
        onOpen: () => resolve(client),
        onMessages: () => {},
        onBroken,
      });
    });
  }

  async post(client, room, text) {
    await client.emit(room, text);
  }

  /** A client resumes by its private id and the last offset that it saw; a kept one is parsed for it. */
  async cursorAfter(_answer, _requester, _room, readers) {
    const { id } = packetsOf(readers.find((reader) => reader.kept !== undefined).kept).at(-1);
    return { recoverEach: readers.map(({ pid }) => ({ pid, offset: id })) };
  }

  eventsOf(reader, isPolling) {
    if (!isPolling) return packetsOf(reader.kept);
    return reader.kept.flatMap((body) =>
      packetsOf(
        body
          .toString()
          .split(SEPARATOR)
          .filter((packet) => packet.startsWith('42')),
      ),
    );
  }
}
