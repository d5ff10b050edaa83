import type { Request, Response } from 'express';
import type { EndingCode } from '../chat/entries.ts';
import { Refusal } from '../chat/refusals.ts';
import { jittered } from '../log/jitter.ts';
import { withoutCommand } from '../log/logger.ts';
import { API_HEADERS } from './api-headers.ts';
import { enterLasting, lastingAskedOf } from './lasting.ts';
import { toRefusal } from './refuse.ts';
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
    const sink = new ResponseStreamSink(res, config, connections);
    const { reader, begin } = enterLasting(service, ticket, sink, asked);
    sink.follow(reader);
    try {
      await begin(() => writeStreamHead(req, res));
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

/**
 * Headers that Node.js writes as they are where none was set before. (Not as a list: what a host application wraps `writeHead` with may
 * take that for another kind.)
 */
const EVENTS_HEAD = headOf('text/event-stream; charset=utf-8');
const BYTES_HEAD = headOf('application/octet-stream');

function headOf(type: string): Record<string, string> {
  return {
    ...API_HEADERS,
    'Content-Type': type,
    'Cache-Control': 'no-cache, no-store, no-transform',
    'Content-Encoding': 'identity',
    'X-Accel-Buffering': 'no',
  };
}

/** The head of everything that streams. */
export function writeStreamHead(req: Request, res: Response): void {
  const asBytes = req.method === 'POST' && req.get('accept')?.includes('application/octet-stream');
  res.writeHead(200, asBytes ? BYTES_HEAD : EVENTS_HEAD);
}

/** A refusal that will pass: the stream opens, says when to come back, and ends. */
function sayGoodbye({ config }: Service, req: Request, res: Response, code: EndingCode): void {
  if (code === 'session_ended') throw new Refusal('no_session', 'The session has ended.');
  writeStreamHead(req, res);
  res.end(byeFrame({ code, retryMs: 1000 + jittered(config.byeSpreadMs, 0, 1) }).sse);
}
