import type { NextFunction, Request, Response } from 'express';
import type { Log } from '../log/logger.ts';

/** Paths that are asked for all the time and would drown the rest. */
const UNLOGGED = /\/(api\/(poll|confirm)|plain\/[^/]+\/(live|proof)|healthz|readyz|metrics)$/;

/** One line a request, when it ends: no query, no body, no headers, so no text, cookie or token. */
export function logRequests(log: Log) {
  return (req: Request, res: Response, next: NextFunction): void => {
    const path = req.originalUrl.split('?', 1)[0] as string;
    if (UNLOGGED.test(path)) return next();
    const startedAt = performance.now();
    res.once('close', () => {
      const ms = Math.round(performance.now() - startedAt);
      log.info({ method: req.method, path, status: res.statusCode, ms }, 'request');
    });
    next();
  };
}
