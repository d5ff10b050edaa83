import type { EventEmitter } from 'node:events';
import type { NextFunction, Request, Response } from 'express';
import type { Log } from '../log/logger.ts';

/** Paths that are asked for all the time and would drown the rest. */
const UNLOGGED = /\/(api\/(poll|confirm)|plain\/[^/]+\/(live|proof)|healthz|readyz|metrics)$/;

/** One line a request, when it ends: no query, no body, no headers, so no text, cookie or token. */
export function logRequests(log: Log) {
  return (req: Request, res: Response, next: NextFunction): void => {
    logAtClose(log, req, res, () => res.statusCode);
    next();
  };
}

/** Logs a request when what answers it closes; for upgrades, too, which pass no middleware. */
export function logAtClose(
  log: Log,
  { method, originalUrl }: Pick<Request, 'method' | 'originalUrl'>,
  answering: EventEmitter,
  statusOf: () => number | undefined,
): void {
  if (log.isLevelEnabled?.('info') === false) return;
  const path = originalUrl.split('?', 1)[0] as string;
  if (UNLOGGED.test(path)) return;
  const startedAt = performance.now();
  answering.once('close', () => {
    const ms = Math.round(performance.now() - startedAt);
    log.info({ method, path, status: statusOf(), ms }, 'request');
  });
}
