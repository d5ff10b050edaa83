// A kept connection with one request under way at most: posts, log-ins, rooms.
import { Answers } from './answers.mjs';
import { connect } from './connection.mjs';

export class Requester {
  #connection;
  #settle;
  #port;
  #onBroken;

  constructor(port, onBroken) {
    this.#port = port;
    this.#onBroken = onBroken;
  }

  ask(method, path, headers, body = '') {
    // Servers close what has been idle for some seconds; then there is a new one.
    this.#connection ??= this.#connect();
    this.#connection.write(
      `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n${headers}` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  close() {
    this.#connection?.close();
  }

  #connect() {
    const answers = new Answers((status, head, body) => {
      const settle = this.#settle;
      this.#settle = undefined;
      settle?.({ status, head, body: body.toString() });
    });
    return connect(
      this.#port,
      (bytes) => answers.take(bytes),
      (why) => {
        this.#connection = undefined;
        if (this.#settle !== undefined) this.#onBroken(`a post's connection: ${why}`);
      },
    );
  }
}

/** Does `count` jobs over some connections; `job(requester, index)`. */
export async function spread(port, count, job, connections = 32) {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(connections, count) }, async () => {
      let broke;
      const broken = new Promise((_, reject) => {
        broke = reject;
      });
      broken.catch(() => {});
      const requester = new Requester(port, (why) => broke(new Error(why)));
      while (next < count) await Promise.race([job(requester, next++), broken]);
      requester.close();
    }),
  );
}
