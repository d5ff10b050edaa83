import { randomBytes } from 'node:crypto';
import type { Request } from 'express';
import { MAIN_SITE, roomKey } from '../chat/rooms.ts';
import { Pulse, type StreamSink } from '../delivery/pulse.ts';
import type { Reader, Sink } from '../delivery/reader.ts';
import { isStillKnown, type Ticket } from './authority.ts';
import { parseReading } from './reading-request.ts';
import type { Service } from './service.ts';

const MIN_HEARTBEAT_MS = 1000;

/** A carrier that stays open. */
export interface LastingSink extends Sink, StreamSink {
  /** From now on it takes what is told. `onEnd` is called once, however it ends. */
  open(reader: Reader, onEnd: () => void): void;
}

/** A stream that was asked for and hears already, but isn't told anything yet. */
export interface LastingReader {
  readonly reader: Reader;
  readonly ticket: Ticket;
  /**
   * Finds out who asks and where to go on from; then `accept` is called, once, and the stream opens. It doesn't if the
   * reader was ended meanwhile. Refusals: `no_session`, `room_not_found`, `unavailable`.
   */
  begin(accept: () => void): Promise<void>;
}

/**
 * Enters a reader that lasts, as every carrier that stays open does it: parameters `rooms`, `after`, `heartbeat` (seconds)
 * and `confirm`. Refusal: `invalid_field`.
 */
export function enterLasting(service: Service, req: Request, sink: LastingSink): LastingReader {
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
  const reader = delivery.enter({
    rooms: keys,
    addresses: ticket.addresses,
    sink,
    isAllowed: () => isStillKnown(authority, ticket),
  });
  const begin = async (accept: () => void): Promise<void> => {
    const identity = await authority.identify(ticket);
    await rooms.mustExist(keys);
    reader.listenTo(`user:${identity.userKey}`);
    const nonce = randomBytes(16).toString('base64url');
    const pulse = new Pulse(reader, sink, {
      nonce,
      heartbeatMs,
      leaseMs: config.leaseMs,
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
      accept();
      sink.open(reader, () => pulse.stop());
      pulse.start(cursor);
    });
  };
  return { reader, ticket, begin };
}
