import { randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import { formatCursor, parseCursor } from '../chat/cursors.ts';
import type { GapNotice, MessageEntry } from '../chat/entries.ts';
import { entryJson } from '../chat/entries.ts';
import { compareIds, parseStreamId } from '../chat/ids.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomName, type RoomName, roomKey } from '../chat/rooms.ts';
import type { People } from '../log/presence.ts';
import type { History } from '../log/read.ts';
import type { RoomView } from '../log/room-book.ts';
import type { Identity, Ticket } from './authority.ts';
import { type EntryPrinter, gapWords } from './plain-entries.ts';
import { logInForm, logOutForm, membershipForm, postForm, type Typed } from './plain-forms.ts';
import { FOOT, head, html, type Markup, wayUp } from './plain-html.ts';
import { giveFormToken } from './plain-token.ts';
import { whenReachable } from './reachable.ts';
import { parametersOf } from './reading-request.ts';
import type { Service } from './service.ts';
import { known } from './sessions.ts';

const PAGE_MESSAGES = 50;
const LISTED_ROOMS = 200;
const MIN_REFRESH_S = 5;
const MAX_REFRESH_S = 600;
const REFRESH_S = 15;

/** What a page says besides the room: how a form fared. */
export interface Outcome {
  readonly status?: number;
  readonly problem?: string;
  /** What was typed and not taken: it stands in the form again. */
  readonly typed?: Typed;
  /** Where it isn’t the one that the request came with. */
  readonly ticket?: Ticket;
}

/** Where a page of the room begins and how it is kept fresh. */
interface View {
  readonly room: RoomName;
  readonly up: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly refreshS: number | undefined;
}

interface Shown {
  readonly room: RoomView;
  readonly rooms: readonly RoomView[];
  readonly history: History;
  readonly people: People;
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
    const form = service.logInSession
      ? logInForm(view, token, outcome.typed)
      : html`<p>Log in on the site that this chat belongs to.</p>`;
    send(
      res,
      html`${head({ title: 'Log in · Throughline', up: view.up, kind: 'page' })}<header><h1>Throughline</h1></header>
<main class="entrance">${problemMarkup(outcome.problem)}${form}</main>${FOOT}`,
    );
    return;
  }
  const shown = await load(service, identity, view);
  const { room, history } = shown;
  const page = html`${head({ title: `${room.title} · Throughline`, up: view.up, kind: 'page' })}<header>
<h1><bdi>${room.title}</bdi></h1>
<p class="who">You are <b><bdi>${identity.user.name}</bdi></b></p>
${service.logInSession && logOutForm(view, token)}
</header>
<main>
${problemMarkup(outcome.problem)}
${messagesMarkup(printer, view, history)}
${view.before === undefined ? frameMarkup(view, shown) : undefined}
${postForm(view, room.title, token, outcome.typed, newClientId)}
</main>
<nav aria-label="Rooms and people">
<h2>Rooms</h2>
${roomsMarkup(view, shown.rooms)}
${membershipForm(view, room, token)}
${peopleMarkup(shown.people)}
</nav>${FOOT}`;
  send(res, page);
  authority.renew(ticket, identity).catch((error) => log.warn({ err: error }, 'a session wasn’t renewed'));
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
    refreshS: /^\d{1,4}$/.test(refresh)
      ? Math.min(MAX_REFRESH_S, Math.max(MIN_REFRESH_S, Number(refresh)))
      : undefined,
  };
}

async function load(service: Service, identity: Identity, view: View): Promise<Shown> {
  const { rooms, history, presence } = service;
  const { site, user, userKey } = identity;
  const key = roomKey(site, view.room);
  const before = view.before === undefined ? undefined : parseStreamId(view.before);
  if (view.before !== undefined && before === undefined)
    throw new Refusal('invalid_field', 'before must be an id.', { field: 'before' });
  await whenReachable(presence.renew([key], userKey, user));
  const [room, page, list, people] = await whenReachable(
    Promise.all([
      rooms.view(key, userKey),
      history.history(key, before === undefined ? {} : { before }, PAGE_MESSAGES),
      rooms.list(site, userKey),
      presence.list(key),
    ]),
  );
  return { room, rooms: list, history: page, people };
}

function problemMarkup(problem: string | undefined): Markup | undefined {
  return problem === undefined ? undefined : html`<p class="problem" role="alert">${problem}</p>`;
}

function messagesMarkup(
  printer: EntryPrinter,
  view: View,
  { entries, facts, floor, hasMore }: History,
): Markup {
  const { room, up } = view;
  const first = entries[0];
  const older =
    hasMore && first
      ? html`<p class="older"><a href="${up}${room}?before=${first.id}">Older messages</a></p>`
      : undefined;
  const newest =
    view.before === undefined
      ? undefined
      : html`<p class="newer"><a href="${up}${room}">Newest messages</a></p>`;
  const seen = seenUpTo(view, facts.epoch, floor);
  let isMarked = false;
  const messages = entries.map((entry) => {
    const message = printer.message(JSON.parse(entryJson(room, entry)) as MessageEntry);
    if (isMarked || seen.id === undefined || compareIds(entry.id, seen.id) <= 0) return message;
    isMarked = true;
    return html`<h3 class="new" id="new">New</h3>\n${message}`;
  });
  const nothing =
    view.after === undefined || isMarked ? undefined : html`<p class="new" id="new">Nothing new.</p>`;
  return html`<section class="log" aria-label="Messages"><div class="list">
${older}
${seen.gap && html`<p class="gap">${gapWords(seen.gap)}</p>`}
${entries.length === 0 ? html`<p class="none">No messages yet. Say hello.</p>` : messages}
${nothing}${newest}
</div></section>`;
}

/** Up to where the reader of `?after=` had seen the room, or why that can’t be told. */
function seenUpTo({ after }: View, epoch: string, floor: History['floor']) {
  const nowhere = { id: undefined, gap: undefined };
  if (after === undefined) return nowhere;
  const cursor = parseCursor(after);
  const gap: GapNotice['reason'] | undefined =
    cursor === undefined
      ? 'unknown-cursor'
      : cursor.epoch !== epoch
        ? 'rollback'
        : compareIds(cursor.id, floor) < 0
          ? 'trimmed'
          : undefined;
  return gap === undefined ? { id: cursor?.id, gap } : { ...nowhere, gap };
}

/** What comes after the page’s own messages, in a frame; the link in it is for browsers without frames. */
function frameMarkup({ room, up, refreshS }: View, { history, room: { n } }: Shown): Markup {
  const cursor = formatCursor(history.facts.epoch, history.facts.last);
  const told = history.entries.at(-1)?.n ?? n;
  const every = refreshS === undefined ? '' : `&every=${refreshS}`;
  const kept = refreshS === undefined ? '' : `&refresh=${refreshS}`;
  const other =
    refreshS === undefined
      ? html`<a href="${up}${room}?refresh=${REFRESH_S}">Refresh by itself every ${REFRESH_S} s</a>`
      : html`<a href="${up}${room}">Show new messages at once</a>`;
  return html`<iframe name="live" title="New messages" src="${up}${room}/live?after=${cursor}&amp;n=${told}${every}"></iframe>
<p class="how"><a href="${up}${room}?after=${cursor}${kept}#new">Refresh</a> · ${other}</p>`;
}

function roomsMarkup({ up, room }: View, rooms: readonly RoomView[]): Markup {
  const listed = rooms.toSorted((a, b) => Number(b.isMember) - Number(a.isMember)).slice(0, LISTED_ROOMS);
  const items = listed.map((other) =>
    other.room === room
      ? html`<li><b aria-current="page"><bdi>${other.title}</bdi></b></li>`
      : html`<li><a href="${up}${other.room}"><bdi>${other.title}</bdi></a> <small>${other.n} messages</small></li>`,
  );
  const rest = rooms.length - listed.length;
  return html`<ul>
${items}
</ul>
${rest > 0 ? html`<p>And ${rest} more.</p>` : undefined}`;
}

function peopleMarkup({ people, count }: People): Markup {
  const names = people.map(({ name }) => html`<li><bdi>${name}</bdi></li>`);
  return html`<h2>Here: ${count}</h2>
<ul>
${names}
</ul>`;
}
