import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import { parseStreamId } from '../chat/ids.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomName, type RoomName } from '../chat/rooms.ts';
import { withoutCommand } from '../log/logger.ts';
import { whenReachable } from '../log/unreachable.ts';
import { type Identity, known, type Ticket } from './authority.ts';
import { beHere } from './being-here.ts';
import { type EntryPrinter, markOf } from './plain-entries.ts';
import { logInForm, logOutForm, membershipForm, postForm, type Typed } from './plain-forms.ts';
import { FOOT, head, html, type Markup, wayUp } from './plain-html.ts';
import {
  frameMarkup,
  messagesMarkup,
  peopleMarkup,
  roomsMarkup,
  type Shown,
  type View,
} from './plain-room.ts';
import { giveFormToken } from './plain-token.ts';
import { parametersOf } from './reading-request.ts';
import { mayEnter, openRoom } from './rights.ts';
import type { Service } from './service.ts';

const PAGE_MESSAGES = 50;
const LISTED_ROOMS = 200;
const MIN_REFRESH_S = 5;
const MAX_REFRESH_S = 600;

/** What a page says besides the room: how a form fared. */
export interface Outcome {
  readonly status?: number;
  readonly problem?: string;
  /** What was typed and not taken: it stands in the form again. */
  readonly typed?: Typed;
  /** Where it isn’t the one that the request came with. */
  readonly ticket?: Ticket;
}

/** `GET /plain/:room?before=&after=&refresh=`: the room as a page that needs no script, or the log-in form. */
export function showRoom(service: Service, printer: EntryPrinter) {
  return (req: Request, res: Response): Promise<void> => answerRoom(service, printer, req, res, {});
}

/** Answers the page of the room that a request names, with how its form fared. */
export async function answerRoom(
  service: Service,
  printer: EntryPrinter,
  req: Request,
  res: Response,
  outcome: Outcome,
): Promise<void> {
  const { authority, log } = service;
  const view = viewOf(req);
  const ticket = outcome.ticket ?? authority.ticketOf(req);
  const identity = await known(authority.identify(ticket));
  const token = giveFormToken(authority, ticket, req, res);
  res.status(outcome.status ?? 200);
  if (identity === undefined) {
    const { guests } = await whenReachable(service.sites.mustGet(ticket.site));
    const form =
      service.logInSession && guests === 'allowed'
        ? logInForm(view, token, outcome.typed)
        : html`<p>Log in on the site that this chat belongs to.</p>`;
    send(
      res,
      html`${head({ title: 'Log in · Throughline', up: view.up, kind: 'page' })}<header><h1>Throughline</h1></header>
<main class="entrance">${problemMarkup(outcome.problem)}${form}</main>${FOOT}`,
    );
    return;
  }
  const shown = await load(service, ticket, identity, view);
  const { room, history } = shown;
  const page = html`${head({ title: `${room.title} · Throughline`, up: view.up, kind: 'page' })}<header>
<h1><bdi>${room.title}</bdi></h1>
<p class="who">You are <b><bdi>${identity.user.name}</bdi></b>${markOf(identity.user)}</p>
${service.logInSession && logOutForm(view, token)}
</header>
<main>
${problemMarkup(outcome.problem)}
${view.hasLeft ? html`<p class="how">You have left this room. <a href="${view.up}${view.room}">Look in again</a></p>` : undefined}
${messagesMarkup(printer, view, history)}
${view.before === undefined && !view.hasLeft ? frameMarkup(view, shown) : undefined}
${room.closed && html`<p class="how">This room is closed: it can be read, but nothing more can be said in it.</p>`}
${room.closed && !outcome.typed?.text ? undefined : postForm(view, room.title, token, outcome.typed, newClientId)}
</main>
<nav aria-label="Rooms and people">
<h2>Rooms</h2>
${roomsMarkup(view, shown.rooms)}
${membershipForm(view, room, token)}
${peopleMarkup(shown.people)}
</nav>${FOOT}`;
  send(res, page);
  authority
    .renew(ticket, identity)
    .catch((error) => log.warn({ err: withoutCommand(error) }, 'a session wasn’t renewed'));
}

/** The form alone, with what was typed, where the room can’t be shown. */
export function answerBare(
  { authority }: Service,
  req: Request,
  res: Response,
  room: RoomName,
  { status = 200, problem, typed }: Outcome,
): void {
  const up = wayUp(req.path);
  const token = giveFormToken(authority, authority.ticketOf(req), req, res);
  const form =
    typed?.name === undefined
      ? postForm({ room, up }, room, token, typed, newClientId)
      : logInForm({ room, up }, token, typed);
  res.status(status);
  send(
    res,
    html`${head({ title: 'Throughline', up, kind: 'page' })}<header><h1>Throughline</h1></header>
<main class="entrance">${problemMarkup(problem)}${form}<p><a href="${up}${room}">Load the room again</a></p></main>${FOOT}`,
  );
}

/** A page that needs nothing but its words. */
export function answerWords(req: Request, res: Response, status: number, words: string, link: Markup): void {
  res.status(status);
  send(
    res,
    html`${head({ title: 'Throughline', up: wayUp(req.path), kind: 'page' })}<header><h1>Throughline</h1></header>
<main class="entrance">${problemMarkup(words)}<p>${link}</p></main>${FOOT}`,
  );
}

/** A key for what will be written in a form: sent twice it is posted once. */
function newClientId(): string {
  return randomBytes(18).toString('base64url');
}

function send(res: Response, { text }: Markup): void {
  res.type('html').send(text);
}

function viewOf(req: Request): View {
  const room = parseRoomName(req.params['room']);
  const parameters = req.method === 'GET' ? parametersOf(req) : new URLSearchParams();
  const refresh = parameters.get('refresh') ?? '';
  return {
    room,
    up: wayUp(req.path),
    before: parameters.get('before') || undefined,
    after: parameters.get('after') || undefined,
    hasLeft: parameters.get('left') === '1',
    refreshS: /^\d{1,4}$/.test(refresh)
      ? Math.min(MAX_REFRESH_S, Math.max(MIN_REFRESH_S, Number(refresh)))
      : undefined,
  };
}

async function load(service: Service, ticket: Ticket, identity: Identity, view: View): Promise<Shown> {
  const { site, userKey } = identity;
  const { rooms, history, presence } = service.shardOf(site);
  const key = openRoom(identity, view.room);
  const before = view.before === undefined ? undefined : parseStreamId(view.before);
  if (view.before !== undefined && before === undefined)
    throw new Refusal('invalid_field', 'before must be an id.', { field: 'before' });
  if (!view.hasLeft) await beHere(service, ticket, identity, [key]).catch(unlessTooFast);
  const [room, page, list, people] = await whenReachable(
    Promise.all([
      rooms.view(key, userKey),
      history.history(key, before === undefined ? {} : { before }, PAGE_MESSAGES),
      rooms.listSome(site, userKey, LISTED_ROOMS, (room) => mayEnter(identity, room)),
      presence.list(key),
    ]),
  );
  return { room, rooms: list, history: page, people };
}

/** The page is shown to whoever comes and goes too fast as well. */
function unlessTooFast(error: unknown): void {
  if (!(error instanceof Refusal && error.code === 'too_fast')) throw error;
}

function problemMarkup(problem: string | undefined): Markup | undefined {
  return problem === undefined ? undefined : html`<p class="problem" role="alert">${problem}</p>`;
}
