import { randomUUID } from 'node:crypto';
import type { Request } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { type RoomKey, roomKey } from '../chat/rooms.ts';
import { Pulse, type StreamSink } from '../delivery/pulse.ts';
import type { Ending, Reader, Sink } from '../delivery/reader.ts';
import type { Identity, Ticket } from './authority.ts';
import { flagOf, numberOf, parseReading } from './reading-request.ts';
import { mayStillRead, mustEnterAll, mustExistAll } from './rights.ts';
import type { Service } from './service.ts';

const MIN_HEARTBEAT_MS = 1000;
/** A stream may become so much older than its greatest age says. */
const AGE_STRETCH = 1.2;

/** A carrier that stays open. */
export interface LastingSink extends Sink, StreamSink {
  /** From now on it takes what is told. `onEnd` is called once, however it ends. */
  open(reader: Reader, onEnd: () => void): void;
  /**
   * Called once what there was to tell at first has been told, in the same turn as `open`; or where it didn't open. Answers whether filler
   * would be of use.
   */
  settle(): boolean;
}

/** What is to be told, and how its client shows that it is. */
export interface Asked {
  readonly rooms: readonly RoomKey[];
  readonly after: string | undefined;
  readonly nonce: string;
  readonly heartbeatMs: number;
  /** Within what it must be confirmed at first; undefined: it needn't be. */
  readonly confirmWithinMs: number | undefined;
  /** It ends once all has been told, so it needs no heartbeats. */
  readonly isShort?: boolean;
}

/** A stream that was asked for and hears already, but isn't told anything yet. */
export interface LastingReader {
  readonly reader: Reader;
  /**
   * Finds out who asks and where to go on from; then `accept` is called, once, and the stream opens. It doesn't if the
   * reader was ended meanwhile. Refusals: `no_session`, `room_forbidden`, `room_not_found`, `unavailable`.
   */
  begin(accept: () => void): Promise<void>;
}

/** A name for a stream that nobody can guess: 122 random bits, of which Node makes many at once. */
export function newNonce(): string {
  return randomUUID();
}

/** Reads the parameters `rooms`, `after`, `heartbeat` (seconds) and `confirm`. Refusal: `invalid_field`. */
export function lastingAskedOf(
  req: Request,
  { site }: Ticket,
  { heartbeatMs, confirmMs }: Service['config'],
): Asked {
  const { rooms, after, parameters } = parseReading(req);
  const range = {
    min: Math.min(MIN_HEARTBEAT_MS, heartbeatMs) / 1000,
    max: heartbeatMs / 1000,
    otherwise: heartbeatMs / 1000,
  };
  return {
    rooms: rooms.map((room) => roomKey(site, room)),
    after,
    nonce: newNonce(),
    heartbeatMs: Math.round(numberOf(parameters, 'heartbeat', range) * 1000),
    confirmWithinMs: flagOf(parameters, 'confirm') ? confirmMs : undefined,
  };
}

/** Made where nothing of the request can be held by it. */
function stopOf(pulse: Pulse): () => void {
  return () => pulse.stop();
}

/**
 * Has a reader hear what is said to its user, and of guests being shut out. At once after it was found out who that is: between the two
 * nothing may pass.
 */
export function hearOf(
  { siteWatch }: Pick<Service, 'siteWatch'>,
  reader: Reader,
  { site, user, userAddress }: Identity,
): void {
  reader.hearAs(userAddress, user.guest);
  siteWatch.saw(site);
}

/** What is said of a reader that ended before it was accepted. */
export function refusalOfEnded(by: Ending | undefined): Refusal {
  if (by?.code === 'session_ended') return new Refusal('no_session', 'The session has ended.');
  const why = by?.code === 'shutting_down' ? 'The service is about to stop' : 'It ended before it began';
  return new Refusal('unavailable', `${why}. Come back.`, { retryAfter: 1 });
}

/** Enters a reader that lasts, as every carrier that stays open does it. */
export function enterLasting(
  service: Service,
  ticket: Ticket,
  sink: LastingSink,
  { rooms, after, nonce, heartbeatMs, confirmWithinMs, isShort }: Asked,
): LastingReader {
  const { config, authority, leases } = service;
  const { delivery, rooms: book } = service.shardOf(ticket.site);
  const reader = delivery.enter({
    rooms,
    addresses: ticket.addresses,
    sink,
    isAllowed: () => mayStillRead(authority, ticket, rooms, config.byeSpreadMs),
  });
  const pulseOf = ({ holder, endsAtMs = Number.POSITIVE_INFINITY }: Identity) =>
    new Pulse(reader, sink, {
      nonce,
      heartbeatMs,
      leaseMs: config.leaseMs,
      maxAgeMs: Math.min(config.streamMaxAgeMs, Math.max(1, (endsAtMs - Date.now()) / AGE_STRETCH)),
      byeSpreadMs: config.byeSpreadMs,
      heartbeats: delivery.heartbeats,
      confirmation:
        confirmWithinMs === undefined
          ? undefined
          : { withinMs: confirmWithinMs, isConfirmed: () => leases.isConfirmed(nonce, holder) },
    });
  const begin = async (accept: () => void): Promise<void> => {
    const identity = await authority.identify(ticket);
    hearOf(service, reader, identity);
    mustEnterAll(identity, rooms);
    await mustExistAll(book, rooms);
    const pulse = pulseOf(identity);
    await reader.begin(after, (cursor) => {
      accept();
      sink.open(reader, stopOf(pulse));
      if (!isShort) pulse.start(cursor);
    });
    const needsPadding = sink.settle();
    if (!isShort) pulse.settle(needsPadding);
  };
  return { reader, begin };
}
