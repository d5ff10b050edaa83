import type { NextFunction, Request, Response } from 'express';

/** What every answer of the API says, but where its route says more. */
export const API_HEADERS = {
  'Cache-Control': 'no-store, no-transform',
  'X-Content-Type-Options': 'nosniff',
  Throughline: '1',
  Vary: 'Origin',
} as const;

const ENTRIES = Object.entries(API_HEADERS);

/** Has an answer say it. */
export function setApiHeaders(_req: Request, res: Response, next: NextFunction): void {
  setAll(res);
  next();
}

/** The same for a refusal of what came before that. */
export function setHeadersOfRefusal(error: unknown, _req: Request, res: Response, next: NextFunction): void {
  if (!res.headersSent) setAll(res);
  next(error);
}

function setAll(res: Response): void {
  for (const [name, value] of ENTRIES) res.setHeader(name, value);
}
