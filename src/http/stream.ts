import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { EndingCode } from '../chat/entries.ts';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, roomKey } from '../chat/rooms.ts';
import { Pulse } from '../delivery/pulse.ts';
import { isStillKnown } from './authority.ts';
import { parseReading } from './reading-request.ts';
import { toRefusal } from './refuse.ts';
import type { Service } from './service.ts';
import { byeFrame, ResponseStreamSink } from './stream-sink.ts';

const MIN_HEARTBEAT_MS = 1000;

/**
 * `GET|POST /api/stream`: a `text/event-stream` that lasts (by POST also as `application/octet-stream`).
 * [spec] WHATWG HTML, 9.2.3: after a status other than 200 an EventSource never comes back, so temporary refusals are
 * 200, `retry:`, `bye` and the end.
 */
export function stream(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const asked = parseReading(req);
    const { config, authority, delivery, leases, rooms } = service;
    const heartbeatMs =
      asked.number('heartbeat', {
        min: Math.min(MIN_HEARTBEAT_MS, config.heartbeatMs) / 1000,
        max: config.heartbeatMs / 1000,
        otherwise: config.heartbeatMs / 1000,
      }) * 1000;
    const mustConfirm = asked.flag('confirm');

    const ticket = authority.ticketOf(req);
    const keys = asked.rooms.map((room) => roomKey(MAIN_SITE, room));
    const sink = new ResponseStreamSink(res, config.stallMs);
    const reader = delivery.enter({
      rooms: keys,
      addresses: ticket.addresses,
      sink,
      isAllowed: () => isStillKnown(authority, ticket),
    });
    res.once('close', () => reader.end());
    try {
      const identity = await authority.identify(ticket);
      await rooms.mustExist(keys);
      reader.listenTo(`user:${identity.userKey}`);
      const nonce = randomBytes(16).toString('base64url');
      const pulse = new Pulse(reader, sink, {
        nonce,
        heartbeatMs,
        maxAgeMs: config.streamMaxAgeMs,
        byeSpreadMs: config.byeSpreadMs,
        ...(mustConfirm && {
          confirmation: {
            withinMs: config.confirmMs,
            isConfirmed: () => leases.isConfirmed(nonce, identity.holder),
          },
        }),
      });
      await reader.begin(asked.after, (cursor) => {
        setHeaders(req, res);
        sink.open(reader, () => pulse.stop());
        pulse.start(cursor);
      });
      if (!res.headersSent && !res.destroyed)
        sayGoodbye(service, req, res, reader.ended?.by?.code ?? 'unavailable');
    } catch (error) {
      reader.end();
      if (res.headersSent || res.destroyed) return;
      const refusal = toRefusal(error, service.log);
      if (refusal.status < 500 && refusal.status !== 429) throw refusal;
      sayGoodbye(service, req, res, refusal.code as EndingCode);
    }
  };
}

function setHeaders(req: Request, res: Response): void {
  const asBytes = req.method === 'POST' && req.get('accept')?.includes('application/octet-stream');
  res.status(200).set({
    'Content-Type': asBytes ? 'application/octet-stream' : 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache, no-store, no-transform',
    'Content-Encoding': 'identity',
    'X-Accel-Buffering': 'no',
  });
}

/** A refusal that will pass: the stream opens, says when to come back, and ends. */
function sayGoodbye({ config }: Service, req: Request, res: Response, code: EndingCode): void {
  if (code === 'session_ended') throw new Refusal('no_session', 'The session has ended.');
  setHeaders(req, res);
  res.end(byeFrame({ code, retryMs: Math.round(1000 + Math.random() * config.byeSpreadMs) }).sse);
}
