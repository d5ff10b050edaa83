import type { WebSocketLike } from '../carrier.ts';

/** A token in place of the session's cookie; in memory alone, and never in a URL. */
export interface Bearer {
  /** The token to send from now on; undefined: the cookie. */
  token: string | undefined;
  readonly fetch: typeof fetch;
  readonly WebSocket: WebSocketLike | undefined;
}

/** How one asks with a token: every request carries it in a header, a WebSocket in its first frame. */
export function openBearer(Socket: typeof WebSocket | undefined): Bearer {
  const bearer: Bearer = {
    token: undefined,
    fetch(input, init = {}) {
      const { token } = bearer;
      if (token === undefined) return fetch(input, init);
      const headers = Object.assign({ Authorization: `Bearer ${token}` }, init.headers);
      // A cookie may be somebody else's.
      return fetch(input, Object.assign({}, init, { headers, credentials: 'omit' as const }));
    },
    WebSocket:
      Socket &&
      class extends Socket {
        constructor(url: string) {
          const { token } = bearer;
          // The service is told to wait for it.
          super(token === undefined ? url : `${url}&token=1`);
          if (token !== undefined)
            this.addEventListener('open', () => this.send(JSON.stringify({ kind: 'token', token })));
        }
      },
  };
  return bearer;
}
