import type { Response } from 'express';

const DRIP_EVERY_MS = 2500;
const BLANK = ' ';

/** Sends the head of an answer in JSON and then blanks until it comes, so that no proxy takes the connection for idle. */
export function startDrip(res: Response): NodeJS.Timeout {
  res.set({
    'Content-Type': 'application/json; charset=utf-8',
    'X-Accel-Buffering': 'no',
    'Content-Encoding': 'identity',
  });
  res.write(BLANK);
  // One that waits for its turn on a pipelined connection has ended long before it closes.
  return setInterval(() => void (res.writableEnded || res.write(BLANK)), DRIP_EVERY_MS);
}
