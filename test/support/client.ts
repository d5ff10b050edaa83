import { WebSocket } from 'ws';
import type { WebSocketLike } from '../../src/browser/carrier.ts';
import { type ClientOptions, ThroughlineClient } from '../../src/browser/client.ts';
import { memoryStore } from '../../src/browser/outbox-store.ts';
import type { Person } from './service.ts';

/** The browser's client in this process, with somebody's cookie. */
export function clientOf(person: Person, options: ClientOptions = {}): ThroughlineClient {
  const headers = { Cookie: person.cookie };
  class Socket extends WebSocket {
    constructor(url: string) {
      super(url, { headers });
      // What closes a socket that isn't open yet is an event here.
      this.on('error', () => {});
    }
  }
  return new ThroughlineClient({
    url: person.url,
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init?.headers, ...headers } }),
    WebSocket: Socket as unknown as WebSocketLike,
    outbox: memoryStore(),
    ...options,
  });
}
