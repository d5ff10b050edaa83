import type { NextFunction, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import type { Counts } from '../delivery/counts.ts';
import { type Log, withoutCommand } from '../log/logger.ts';

/** Turns whatever was thrown into a refusal: our own, a body parser's, or (a bug, logged) `internal`. */
export function toRefusal(error: unknown, log: Log): Refusal {
  if (error instanceof Refusal) {
    if (error.cause !== undefined)
      log.warn({ code: error.code, cause: String(error.cause) }, 'refused for a fault');
    return error;
  }
  const { type, status } = error as { type?: string; status?: number };
  switch (type) {
    case 'entity.too.large':
    case 'parameters.too.many':
      return new Refusal('body_too_large', 'The body is too large.');
    case 'encoding.unsupported':
    case 'charset.unsupported':
      return new Refusal(
        'unsupported_type',
        'The body’s encoding or charset isn’t supported; use UTF-8, uncompressed.',
      );
    default:
      if (typeof status === 'number' && status >= 400 && status < 500) {
        return new Refusal('malformed_body', 'The request or its body can’t be read.');
      }
      log.error({ err: withoutCommand(error) }, 'a request failed');
      return new Refusal('internal', 'Something went wrong here. It has been logged.');
  }
}

/** Answers a refusal in its one shape. */
export function sendRefusal(res: Response, refusal: Refusal): void {
  const { retryAfter } = refusal.details;
  if (retryAfter !== undefined) res.set('Retry-After', String(retryAfter));
  res.status(refusal.status).type('json').json(refusal);
}

/** The last middleware. Once headers are out, JSON would land inside the stream: Express then cuts the connection. */
export function refuse(log: Log, counts: Counts) {
  return (error: unknown, _req: Request, res: Response, next: NextFunction): void => {
    const refusal = toRefusal(error, log);
    if (res.headersSent) return next(error);
    counts.refusals[refusal.code]++;
    sendRefusal(res, refusal);
  };
}
