import type { NextFunction, Request, RequestHandler, Response } from 'express';

/**
 * Several handlers as one. Every handler of its own is a layer that the router matches, wraps and undoes for each
 * request, which costs more than most of them do. What `next` is called with means what it means to the router: nothing
 * and `'route'` go on with the next handler.
 */
export function inTurn(...handlers: readonly RequestHandler[]): RequestHandler {
  return (req: Request, res: Response, next: NextFunction): void => {
    let at = 0;
    const fail = (error: unknown): void => next(error ?? new Error('a handler failed without saying why'));
    const goOn = (word?: unknown): void => {
      const isWell = word === undefined || word === null || word === 'route';
      const handle = isWell ? handlers[at++] : undefined;
      if (handle === undefined) return next(isWell ? undefined : word);
      try {
        const handled: unknown = handle(req, res, goOn);
        if (handled instanceof Promise) handled.catch(fail);
      } catch (error) {
        fail(error);
      }
    };
    goOn();
  };
}
