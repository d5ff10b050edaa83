import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { Refusal } from '../chat/refusals.ts';

const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';

/** Whether a request's body is a form. */
export function isForm(req: Request): boolean {
  return isOfType(req, FORM_TYPE);
}

/** Nearly all name one of the two types and nothing else, which needn't be parsed to be seen. */
function isOfType(req: Request, type: typeof JSON_TYPE | typeof FORM_TYPE): boolean {
  const named = req.headers['content-type'];
  if (named === JSON_TYPE || named === FORM_TYPE) return named === type;
  return Boolean(req.is(type));
}

/**
 * Reads a body of JSON or of a form into `req.body`. A GET has none: what it asks for stands in its query.
 * Refusal: `unsupported_type`; and what Express' parsers throw.
 */
export function readBody(limit: number): RequestHandler {
  const readJson = express.json({
    limit,
    inflate: false,
    type: (req) => isOfType(req as Request, JSON_TYPE),
  });
  const readForm = express.urlencoded({ limit, inflate: false, extended: false });
  return (req: Request, res: Response, next: NextFunction): void => {
    if (req.method === 'GET') return next();
    const needKnown = (error?: unknown): void => {
      const isUnread = !error && req.method === 'POST' && req.body === undefined && hasBody(req);
      next(isUnread ? new Refusal('unsupported_type', `Send ${JSON_TYPE} or ${FORM_TYPE}.`) : error);
    };
    readJson(req, res, (error?: unknown) => {
      if (error || req.body !== undefined) next(error);
      else readForm(req, res, needKnown);
    });
  };
}

function hasBody(req: Request): boolean {
  return req.get('transfer-encoding') !== undefined || Number(req.get('content-length') ?? 0) > 0;
}
