import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { Refusal } from '../chat/refusals.ts';

const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';

/** Whether a request comes with a form. */
export function isForm(req: Request): boolean {
  return hasBody(req) && isOfType(req, FORM_TYPE);
}

/** Nearly all name one of the two types and nothing else, which needn't be parsed to be seen. */
function isOfType(req: Request, type: typeof JSON_TYPE | typeof FORM_TYPE): boolean {
  const named = req.headers['content-type'];
  if (named === JSON_TYPE || named === FORM_TYPE) return named === type;
  return Boolean(req.is(type));
}

/** [spec] RFC 9112, 6: a request has a body, be it an empty one, if one of the two headers is there. */
export function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined;
}

/**
 * Reads a POST's body, JSON or a form, into `req.body`; that of any other request is passed over.
 * Refusal: `unsupported_type`; and what Express' parsers throw.
 */
export function readBody(limit: number): RequestHandler {
  const readJson = express.json({
    limit,
    inflate: false,
    type: (req) => isOfType(req as Request, JSON_TYPE),
  });
  const readForm = express.urlencoded({ limit, inflate: false, extended: false, type: () => true });
  return (req: Request, res: Response, next: NextFunction): void => {
    if (req.method !== 'POST') {
      // Left unread it would stop the socket's reading, and nobody would hear the client go.
      if (hasBody(req)) req.resume();
      return next();
    }
    const needKnown = (error?: unknown): void => {
      const isUnread =
        !error && req.body === undefined && hasBody(req) && Number(req.headers['content-length']) !== 0;
      next(isUnread ? new Refusal('unsupported_type', `Send ${JSON_TYPE} or ${FORM_TYPE}.`) : error);
    };
    const read = isForm(req) ? readForm : readJson;
    read(req, res, needKnown);
  };
}
