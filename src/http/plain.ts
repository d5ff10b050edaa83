import type { NextFunction, Request, Response } from 'express';
import { parseDraft } from '../chat/messages.ts';
import type { Refusal } from '../chat/refusals.ts';
import { LOBBY, parseRoomName, type RoomName } from '../chat/rooms.ts';
import { parseGuestLogIn } from '../chat/users.ts';
import { refuseOtherSites } from './origin.ts';
import type { EntryPrinter } from './plain-entries.ts';
import type { Typed } from './plain-forms.ts';
import { html, wayUp } from './plain-html.ts';
import { comeBackSeconds } from './plain-live.ts';
import { answerBare, answerRoom, answerWords } from './plain-page.ts';
import { needFormToken } from './plain-token.ts';
import { post } from './post-message.ts';
import { toRefusal } from './refuse.ts';
import { openRoom } from './rights.ts';
import { setMembership } from './rooms.ts';
import type { Service } from './service.ts';
import { enterAsGuest, leave } from './sessions.ts';

type Act = (req: Request, res: Response, room: RoomName) => Promise<void>;

/** `GET /plain`: on to the lobby. */
export function showLobby(req: Request, res: Response): void {
  const [path = ''] = req.originalUrl.split('?', 1);
  res.redirect(302, path.endsWith('/') ? LOBBY : `plain/${LOBBY}`);
}

/** `POST /plain/:room/log-in {name, text?, clientId?}`. */
export function logInByForm(service: Service, printer: EntryPrinter) {
  return form(service, printer, async (req, res) => {
    const { name } = parseGuestLogIn({ name: req.body?.name });
    const { ticket } = await enterAsGuest(service, req, name);
    const typed = typedOf(req);
    if (!typed.text?.trim()) return goToRoom(req, res);
    // What was written before the log-in can’t be kept by a redirect: it would have to stand in an address.
    const problem = 'You are logged in. What you wrote hasn’t been sent yet.';
    await answerRoom(service, printer, req, res, { problem, typed, ticket });
  });
}

/** `POST /plain/:room/log-out`. */
export function logOutByForm(service: Service, printer: EntryPrinter) {
  return form(service, printer, async (req, res) => {
    await leave(service, req, res);
    goToRoom(req, res);
  });
}

/** `POST /plain/:room/post {text, clientId}`: posts, and sends the browser on, so that loading again posts nothing. */
export function postByForm(service: Service, printer: EntryPrinter) {
  return form(service, printer, async (req, res, room) => {
    const { text, clientId } = typedOf(req);
    await post(service, service.authority.ticketOf(req), room, parseDraft({ text, clientId }));
    goToRoom(req, res);
  });
}

/** `POST /plain/:room/join` and `/leave`. */
export function changeMembershipByForm(service: Service, printer: EntryPrinter, change: 'join' | 'leave') {
  return form(service, printer, async (req, res, room) => {
    const identity = await service.authority.identify(service.authority.ticketOf(req));
    await setMembership(service, identity, openRoom(identity, room), change);
    goToRoom(req, res, change === 'leave' ? '?left=1' : '');
  });
}

/** Answers with a page whatever a page’s route throws. */
export function refuseByPage(service: Service) {
  return (error: unknown, req: Request, res: Response, next: NextFunction): void => {
    if (res.headersSent) return next(error);
    const refusal = toRefusal(error, service.log);
    service.counts.refusals[refusal.code]++;
    tellRetry(res, refusal);
    // Browsers follow no `Retry-After`, and nobody would load the frame again by hand.
    if (refusal.status >= 500 && req.path.endsWith('/live'))
      res.set('Refresh', String(comeBackSeconds(service.config)));
    const lobby = `${wayUp(req.path)}${LOBBY}`;
    answerWords(
      req,
      res,
      refusal.status,
      wordsOf(refusal),
      html`<a href="${lobby}" target="_top">To the lobby</a>`,
    );
  };
}

/** A form’s act: only from our own pages, and refused on the same page, with all that was typed. */
function form(service: Service, printer: EntryPrinter, act: Act) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    try {
      refuseOtherSites(req, service.config);
      needFormToken(service.authority, req);
      await act(req, res, room);
    } catch (error) {
      if (res.headersSent) throw error;
      const refusal = toRefusal(error, service.log);
      service.counts.refusals[refusal.code]++;
      tellRetry(res, refusal);
      const isKeySpent = refusal.code === 'client_id_reused' || refusal.details.field === 'clientId';
      const { clientId, ...words } = typedOf(req);
      const outcome = {
        status: refusal.status,
        problem: wordsOf(refusal),
        typed: isKeySpent ? words : { clientId, ...words },
      };
      try {
        await answerRoom(service, printer, req, res, outcome);
      } catch (fault) {
        toRefusal(fault, service.log);
        answerBare(service, req, res, room, outcome);
      }
    }
  };
}

/** [spec] RFC 9110, 15.4.4: what follows 303 is a GET, and it is this that loading again repeats. */
function goToRoom(req: Request, res: Response, query = ''): void {
  res.redirect(303, `${wayUp(req.path)}${req.params['room']}${query}`);
}

/** [spec] WHATWG HTML, 4.10.21.8: forms send line ends as CR LF. */
function typedOf(req: Request): Typed {
  const { name, text, clientId } = (req.body ?? {}) as Record<string, unknown>;
  return {
    name: typeof name === 'string' ? name : undefined,
    text: typeof text === 'string' ? text.replace(/\r\n?/g, '\n') : undefined,
    clientId: typeof clientId === 'string' ? clientId : undefined,
  };
}

function tellRetry(res: Response, { details }: Refusal): void {
  if (details.retryAfter !== undefined) res.set('Retry-After', String(details.retryAfter));
}

/** A refusal in words for people, who see neither codes nor fields. */
function wordsOf({ code, message, details }: Refusal): string {
  switch (code) {
    case 'invalid_field':
      return `Not taken: ${message.replace(/^text /, 'the message ').replace(/^name /, 'the name ')}`;
    case 'no_session':
      return 'You aren’t logged in, or no longer. Log in to go on.';
    case 'origin_refused':
      return `Not taken: ${message.replace(/^Refused: /, '')} Please send it again from this page.`;
    case 'client_id_reused':
      return 'This form had sent something else already. Send it again to post this as well.';
    case 'too_fast':
      return `That was too fast. Send it again in ${details.retryAfter ?? 'a few'} seconds.`;
    case 'unavailable':
      return 'The service can’t be reached right now. Nothing was sent; try again in a moment.';
    case 'unsure':
      return 'It isn’t certain whether that arrived. Send it again: it won’t stand there twice.';
    case 'room_forbidden':
      return 'This room isn’t open to you.';
    case 'room_not_found':
      return 'There is no such room.';
    case 'not_found':
      return 'There is nothing here.';
    default:
      return message;
  }
}
