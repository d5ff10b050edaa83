import type { EventEmitter } from 'node:events';
import type { NextFunction, Request, Response } from 'express';
import type { Log } from '../log/logger.ts';

/** Paths that are asked for all the time and would drown the rest. */
const UNLOGGED = /\/(api\/(poll|confirm)|plain\/[^/]+\/(live|proof)|healthz|readyz|metrics)$/;

/** What people do all day: at `debug`, unless it was refused (which the counts tell by its code alone) or never answered. */
const QUIET_POSTS = /\/(api\/rooms\/[^/]+\/messages|plain\/[^/]+\/post)$/;

/** One line a request, when it ends: no query, no body, no headers, so no text, cookie or token. */
export function logRequests(log: Log) {
  return (req: Request, res: Response, next: NextFunction): void => {
    const tell = lineOf(log, req, () => (res.headersSent ? res.statusCode : undefined));
    // A stream that goes on without its response tells its own end.
    if (tell) res.once('close', () => res.locals['isHeld'] !== true && tell());
    next();
  };
}

/** Logs a request that passes no middleware when what answers it closes: an upgrade. */
export function logAtClose(
  log: Log,
  req: Pick<Request, 'method' | 'originalUrl'>,
  answering: EventEmitter,
  statusOf: () => number | undefined,
): void {
  const tell = lineOf(log, req, statusOf);
  if (tell) answering.once('close', tell);
}

/** What writes the line of a request that begins now; undefined where none is wanted. */
export function lineOf(
  log: Log,
  { method, originalUrl }: Pick<Request, 'method' | 'originalUrl'>,
  statusOf: () => number | undefined,
): (() => void) | undefined {
  if (log.isLevelEnabled?.('info') === false) return undefined;
  const path = originalUrl.split('?', 1)[0] as string;
  if (UNLOGGED.test(path)) return undefined;
  const isPost = method === 'POST' && QUIET_POSTS.test(path);
  const startedAt = performance.now();
  return () => {
    const status = statusOf();
    const level = isPost && status !== undefined && status < 400 ? 'debug' : 'info';
    if (level === 'debug' && log.isLevelEnabled?.('debug') === false) return;
    log[level]({ method, path, status, ms: Math.round(performance.now() - startedAt) }, 'request');
  };
}
