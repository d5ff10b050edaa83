import type { Request, Response } from 'express';
import type { EndingCode } from '../chat/entries.ts';
import { Refusal } from '../chat/refusals.ts';
import { jittered } from '../log/jitter.ts';
import { withoutCommand } from '../log/logger.ts';
import { enterLasting, lastingAskedOf } from './lasting.ts';
import { toRefusal } from './refuse.ts';
import { lineOf } from './request-log.ts';
import type { Service } from './service.ts';
import { byeFrame, ResponseStreamSink } from './stream-sink.ts';

/**
 * `GET|POST /api/stream`: a `text/event-stream` that lasts (by POST also as `application/octet-stream`).
 * [spec] WHATWG HTML, 9.2.3: after a status other than 200 an EventSource never comes back, so temporary refusals are
 * 200, `retry:`, `bye` and the end.
 */
export function stream(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { config, authority, log, connections } = service;
    const ticket = authority.ticketOf(req);
    const asked = lastingAskedOf(req, ticket, config);
    const sink = new ResponseStreamSink(res, config, connections, lineOf(log, req, streams));
    const { reader, begin } = enterLasting(service, ticket, sink, asked);
    sink.follow(reader);
    try {
      await begin(() => setStreamHeaders(req, res));
      if (!res.headersSent && !res.destroyed)
        sayGoodbye(service, req, res, reader.ended?.by?.code ?? 'unavailable');
    } catch (error) {
      reader.end();
      if (res.headersSent) log.error({ err: withoutCommand(error) }, 'a stream failed; it was ended');
      if (res.headersSent || res.destroyed) return;
      const refusal = toRefusal(error, log);
      if (refusal.status < 500 && refusal.status !== 429) throw refusal;
      service.counts.refusals[refusal.code]++;
      sayGoodbye(service, req, res, refusal.code as EndingCode);
    }
  };
}

const streams = (): number => 200;

/** The head of everything that streams. */
export function setStreamHeaders(req: Request, res: Response): void {
  const asBytes = req.method === 'POST' && req.get('accept')?.includes('application/octet-stream');
  res.statusCode = 200;
  res.setHeader('Content-Type', asBytes ? 'application/octet-stream' : 'text/event-stream; charset=utf-8');
  res.setHeader('Cache-Control', 'no-cache, no-store, no-transform');
  res.setHeader('Content-Encoding', 'identity');
  res.setHeader('X-Accel-Buffering', 'no');
}

/** A refusal that will pass: the stream opens, says when to come back, and ends. */
function sayGoodbye({ config }: Service, req: Request, res: Response, code: EndingCode): void {
  if (code === 'session_ended') throw new Refusal('no_session', 'The session has ended.');
  setStreamHeaders(req, res);
  res.end(byeFrame({ code, retryMs: 1000 + jittered(config.byeSpreadMs, 0, 1) }).sse);
}
