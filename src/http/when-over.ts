import type { Response } from 'express';

/**
 * Calls `over`, once, when an answer has ended or its client has gone; at once if it has gone already. Node.js tells of that
 * once, which a handler behind middleware that waits may miss; and not at all to an answer that waits for its turn on a
 * pipelined connection.
 */
export function whenOver(res: Response, over: () => void): void {
  const { socket } = res.req;
  if (res.destroyed || socket.destroyed) return over();
  if (res.socket !== null) {
    res.once('close', over);
    return;
  }
  const tell = (): void => {
    res.off('close', tell);
    socket.off('close', tell);
    over();
  };
  res.once('close', tell);
  // There may be many in the queue.
  socket.setMaxListeners(0).once('close', tell);
}
