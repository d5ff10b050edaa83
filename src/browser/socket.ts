import { urlOf } from './ask.ts';
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
  const path = `/socket?${queryOf(asking, { confirm: '1' })}`;
  const { href } = new URL(urlOf(asking.access, path), globalThis.document?.baseURI);
  const socket = new Socket(href.replace('http', 'ws'));
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
      const event = JSON.parse(String(data));
      const { cursor } = event;
      delete event.cursor;
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
    close: () => {
      isOver = true;
      socket.close();
    },
  };
}
