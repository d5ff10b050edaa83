import type { NextFunction, Request, RequestHandler, Response } from 'express';

/**
 * Several handlers as one. Every handler of its own is a layer that the router matches, wraps and undoes for each
 * request, which costs more than most of them do.
 */
export function inTurn(...handlers: readonly RequestHandler[]): RequestHandler {
  return (req: Request, res: Response, next: NextFunction): void => {
    let at = 0;
    const goOn = (error?: unknown): void => {
      const handle = error === undefined ? handlers[at++] : undefined;
      if (handle === undefined) return next(error);
      try {
        const handled: unknown = handle(req, res, goOn);
        if (handled instanceof Promise) handled.catch(next);
      } catch (thrown) {
        next(thrown);
      }
    };
    goOn();
  };
}
