import {
  type Asking,
  endOfBye,
  type LineListener,
  type OpenLine,
  queryOf,
  type WebSocketLike,
} from './carrier.ts';

/** A stream over a WebSocket. [spec] WHATWG WebSockets: why a handshake failed isn't told to script. */
export function openSocket(Socket: WebSocketLike, asking: Asking, listener: LineListener): OpenLine {
  const base = new URL(`${asking.access.url}/`, globalThis.location?.href);
  const url = new URL(`api/socket?${queryOf(asking, { confirm: '1' })}`, base);
  url.protocol = url.protocol.replace('http', 'ws');
  const socket = new Socket(url.href);
  let isOver = false;
  let hasTold = false;
  const finish = (end: Parameters<LineListener['ended']>[0]) => {
    if (isOver) return;
    isOver = true;
    socket.close();
    listener.ended(end);
  };
  socket.onmessage = ({ data }) => {
    if (isOver) return;
    try {
      const { cursor, ...event } = JSON.parse(String(data));
      hasTold = true;
      if (event.kind === 'bye') finish(endOfBye(event));
      else listener.event(event, cursor);
    } catch {
      finish({ how: 'foreign' });
    }
  };
  socket.onerror = () => {};
  socket.onclose = () => finish({ how: hasTold ? 'cut' : 'foreign' });
  return {
    confirm: (nonce) => {
      if (socket.readyState !== 1) return false;
      socket.send(JSON.stringify({ kind: 'confirm', nonce, rooms: asking.rooms }));
      return true;
    },
    close: () => {
      isOver = true;
      socket.close();
    },
  };
}
