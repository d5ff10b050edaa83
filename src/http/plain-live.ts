import type { Request, Response } from 'express';
import { formatCursor, parseCursor } from '../chat/cursors.ts';
import { compareIds } from '../chat/ids.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomName, type RoomKey, type RoomName } from '../chat/rooms.ts';
import type { Ending } from '../delivery/reader.ts';
import { withoutCommand } from '../log/logger.ts';
import { whenReachable } from '../log/unreachable.ts';
import { confirmStream, isNonce } from './confirm.ts';
import { enterLasting, newNonce, refusalOfEnded } from './lasting.ts';
import type { EntryPrinter } from './plain-entries.ts';
import { head, html, type Markup, wayUp } from './plain-html.ts';
import { LiveSink } from './plain-sink.ts';
import { numberOf, parametersOf } from './reading-request.ts';
import { openRoom } from './rights.ts';
import type { Service, Shard } from './service.ts';
import { whenOver } from './when-over.ts';

/** A browser that was told of the first picture has asked for it by then; else something holds the response back. */
const PROOF_WITHIN_MS = 4000;
const SHORT_EVERY_S = 4;
/** So many short documents, about two minutes, before a held one is tried again. */
const SHORTS = 30;
/** A frame that has more to begin with leaves the older ones to the page. */
const MOST_AT_FIRST = 200;

/** What a frame asks for. */
interface Asked {
  readonly room: RoomName;
  readonly after: string | undefined;
  /** The room’s `n` when the page was made. */
  readonly n: number | undefined;
  /** Seconds after which the reader wants it loaded again, instead of held. */
  readonly everyS: number | undefined;
  /** The nonce of the held document before, which shows whether that got through. */
  readonly was: string | undefined;
  /** The how manieth short document in a row, from 1; 0: held, if it can be. */
  readonly short: number;
}

/**
 * `GET /plain/:room/live?after=`: what follows the cursor, as an HTML document that stays open and grows. Cut or ended, it is
 * loaded again by its own `Refresh` and then tells the same from its cursor on, so nothing is lost and nothing stands twice.
 *
 * Held on evidence only: the document has pictures in it, and a browser that was told of them fetches them. Where
 * none is asked for in time, something on the way holds the response back: it ends, and short documents follow.
 */
export function showLive(service: Service, printer: EntryPrinter) {
  return async (req: Request, res: Response): Promise<void> => {
    const { config, authority, leases } = service;
    const asked = askedOf(req);
    const up = wayUp(req.path);
    const ticket = authority.ticketOf(req);
    const identity = await authority.identify(ticket);
    const { site, userKey, holder } = identity;
    const { delivery, history, rooms } = service.shardOf(site);
    const key = openRoom(identity, asked.room);
    const { title, n } = await whenReachable(rooms.view(key, userKey));
    const isProven = asked.was === undefined || (await whenReachable(leases.isConfirmed(asked.was, holder)));
    const short = asked.short > 0 ? asked.short : isProven ? 0 : 1;
    const isShort = asked.everyS !== undefined || short > 0;
    const start = await startOf(history, key, asked, n);
    const after = start.after ?? formatCursor(delivery.window.epoch, delivery.window.end);
    const room = `${up}${asked.room}`;
    const nonce = newNonce();
    const sink = new LiveSink(res, printer, {
      stallMs: config.stallMs,
      heartbeatMs: config.heartbeatMs,
      isShort,
      opening: html`${head({ title: `New messages · ${title}`, up, kind: 'live' })}<div class="list">
${start.isCut ? html`<p class="older"><a href="${room}" target="_top">There are older new messages: load the room again</a></p>` : undefined}`,
      proof: (i) =>
        html`<img class="proof" src="${room}/proof?nonce=${nonce}&amp;i=${i}" width="1" height="1" alt="">\n`,
      closing: (ending) => closingWords(ending, room),
    });
    const { reader, begin } = enterLasting(service, ticket, sink, {
      rooms: [key],
      after,
      nonce,
      heartbeatMs: config.heartbeatMs,
      confirmWithinMs: Math.min(PROOF_WITHIN_MS, config.confirmMs),
      isShort,
    });
    whenOver(res, () => reader.end());
    try {
      await begin(() => setHeaders(res, refreshOf(service, asked, { after, nonce, short, room })));
    } catch (error) {
      reader.end();
      if (!res.headersSent) throw error;
      service.log.error({ err: withoutCommand(error) }, 'a page that is held open failed; it was ended');
      return;
    }
    if (!res.headersSent && !res.destroyed) throw refusalOfEnded(reader.ended?.by);
    if (isShort) await confirmStream(service, ticket, { rooms: [asked.room] }).catch(() => {});
  };
}

const PICTURE = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

/** `GET /plain/:room/proof?nonce=`: a picture by whose fetching a browser without script confirms a held document. */
export function takeProof(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const nonce = parametersOf(req).get('nonce') ?? '';
    if (!isNonce(nonce))
      throw new Refusal('invalid_field', 'nonce must be that of a document.', { field: 'nonce' });
    await confirmStream(service, service.authority.ticketOf(req), { nonce, rooms: [room] });
    res.type('gif').send(PICTURE);
  };
}

function askedOf(req: Request): Asked {
  const parameters = parametersOf(req);
  const was = parameters.get('was') ?? '';
  const number = (name: string, min: number, max: number) =>
    parameters.get(name) ? Math.floor(numberOf(parameters, name, { min, max, otherwise: min })) : undefined;
  return {
    room: parseRoomName(req.params['room']),
    after: parameters.get('after') || undefined,
    n: number('n', 0, Number.MAX_SAFE_INTEGER),
    everyS: number('every', 5, 600),
    was: isNonce(was) ? was : undefined,
    short: number('short', 0, SHORTS) ?? 0,
  };
}

/** Where the document begins: at its cursor, or nearer to the end where very much has been said since. */
async function startOf(
  history: Shard['history'],
  key: RoomKey,
  { after, n }: Asked,
  nNow: number,
): Promise<{ after: string | undefined; isCut: boolean }> {
  const whole = { after, isCut: false };
  const cursor = after === undefined ? undefined : parseCursor(after);
  if (cursor === undefined || n === undefined || nNow - n <= MOST_AT_FIRST) return whole;
  const { entries, facts, floor } = await whenReachable(history.history(key, {}, MOST_AT_FIRST));
  const from = entries[0]?.prev;
  // A cursor that the log can’t vouch for isn’t moved, so that the gap is told.
  if (from === undefined || cursor.epoch !== facts.epoch || compareIds(cursor.id, floor) < 0) return whole;
  return compareIds(cursor.id, from) < 0 ? { after: formatCursor(facts.epoch, from), isCut: true } : whole;
}

/** What the browser does when the document has ended, whoever ended it. */
function refreshOf(
  { config }: Service,
  { after: askedAfter, n, everyS }: Asked,
  { after, nonce, short, room }: { after: string; nonce: string; short: number; room: string },
): string {
  const next = new URLSearchParams({ after: (askedAfter ?? after).slice(0, 64) });
  if (n !== undefined) next.set('n', String(n));
  if (everyS !== undefined) {
    next.set('every', String(everyS));
    return `${everyS}; url=${room}/live?${next}`;
  }
  if (short === 0) next.set('was', nonce);
  else if (short < SHORTS) next.set('short', String(short + 1));
  const seconds = short > 0 ? SHORT_EVERY_S : comeBackSeconds(config);
  return `${seconds}; url=${room}/live?${next}`;
}

/** Spread, so that a stop of the service doesn’t bring all frames back at once. */
export function comeBackSeconds({ byeSpreadMs }: Pick<Service['config'], 'byeSpreadMs'>): number {
  return 2 + Math.floor((Math.random() * byeSpreadMs) / 1000);
}

function setHeaders(res: Response, refresh: string): void {
  res.status(200).set({
    'Content-Type': 'text/html; charset=utf-8',
    'Cache-Control': 'no-cache, no-store, no-transform',
    'Content-Encoding': 'identity',
    'X-Accel-Buffering': 'no',
    Refresh: refresh,
  });
}

function closingWords({ code }: Ending, room: string): Markup | undefined {
  switch (code) {
    case 'session_ended':
      return html`<p class="gap" role="alert">You have been logged out. <a href="${room}" target="_top">Log in again</a></p>`;
    case 'shutting_down':
      return html`<p class="gap">The service is being restarted; this goes on in a moment. <a href="${room}" target="_top">Load the room again</a></p>`;
    default:
      return undefined;
  }
}
