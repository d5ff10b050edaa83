import type { Response } from 'express';

/** Answers what is asked for all the time, head and body in one write: `res.json` makes a Buffer of the body, hence two. */
export function answerJson(res: Response, status: number, value: unknown): void {
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.end(JSON.stringify(value));
}
