import type { EventEmitter } from 'node:events';
import type { NextFunction, Request, Response } from 'express';
import type { Log } from '../log/logger.ts';

/** Paths that are asked for all the time and would drown the rest. */
const UNLOGGED = /\/(api\/(poll|confirm)|plain\/[^/]+\/(live|proof)|healthz|readyz|metrics)$/;

/** What people do all day: at `debug`, unless it was refused (which the counts tell by its code alone) or never answered. */
const QUIET_POSTS = /\/(api\/rooms\/[^/]+\/messages|plain\/[^/]+\/post)$/;

/** The line that a request is owed once it has been answered: on the response itself, since its `locals` are a dictionary to V8. */
const LINE = Symbol('the line in the log');

interface Lined {
  [LINE]?: RequestLine | undefined;
}

/** One line a request, when it ends: no query, no body, no headers, so no text, cookie or token. */
export function logRequests(log: Log) {
  return (req: Request, res: Response, next: NextFunction): void => {
    logWhenAnswered(log, req, res);
    next();
  };
}

/** Has a request's line written when its response closes, unless something takes the line over. */
export function logWhenAnswered(log: Log, req: Request, res: Response & Lined): void {
  const line = lineOf(log, req);
  if (line === undefined) return;
  res[LINE] = line;
  res.once('close', () => takeLine(res)?.write(res.headersSent ? res.statusCode : undefined));
}

/** Of a response that has just been born. */
export function oweNoLine(res: object): void {
  (res as Lined)[LINE] = undefined;
}

/** Takes a request's line over from its response, for what goes on without it; undefined where none is wanted. */
export function takeLine(res: Response & Lined): RequestLine | undefined {
  const line = res[LINE];
  res[LINE] = undefined;
  return line;
}

/** Logs a request that passes no middleware when what answers it closes: an upgrade. */
export function logAtClose(
  log: Log,
  req: Pick<Request, 'method' | 'originalUrl'>,
  answering: EventEmitter,
  statusOf: () => number | undefined,
): void {
  const line = lineOf(log, req);
  if (line) answering.once('close', () => line.write(statusOf()));
}

/** Undefined where no line is wanted. */
function lineOf(
  log: Log,
  { method, originalUrl }: Pick<Request, 'method' | 'originalUrl'>,
): RequestLine | undefined {
  if (log.isLevelEnabled?.('info') === false) return undefined;
  const end = originalUrl.indexOf('?');
  const path = end < 0 ? originalUrl : originalUrl.slice(0, end);
  return UNLOGGED.test(path) ? undefined : new RequestLine(log, method, path);
}

/** The line of a request that begins now. Holds neither it nor its response. */
export class RequestLine {
  readonly #log: Log;
  readonly #method: string;
  readonly #path: string;
  readonly #startedAt = performance.now();

  constructor(log: Log, method: string, path: string) {
    this.#log = log;
    this.#method = method;
    this.#path = path;
  }

  /** The request has ended. */
  write(status: number | undefined): void {
    const isQuiet =
      this.#method === 'POST' && QUIET_POSTS.test(this.#path) && status !== undefined && status < 400;
    const level = isQuiet ? 'debug' : 'info';
    if (level === 'debug' && this.#log.isLevelEnabled?.('debug') === false) return;
    const ms = Math.round(performance.now() - this.#startedAt);
    this.#log[level]({ method: this.#method, path: this.#path, status, ms }, 'request');
  }
}
