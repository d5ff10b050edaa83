import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that Linux gives to connections and to whoever wants any port: between now and then nobody is given it. */
const PORTS = { first: 10_000, last: 29_999 };

/** A port of the loopback interface that is free now, and will be for whoever takes a while to listen. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first + 1));
    const server = createServer();
    const isFree = once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.listen(port, '127.0.0.1');
    if (!(await isFree)) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
