import type { RoomView } from '../log/room-book.ts';
import { html, type Markup } from './plain-html.ts';

/** What somebody typed into a form, to be kept where it wasn’t taken. */
export interface Typed {
  readonly name?: string | undefined;
  readonly text?: string | undefined;
  readonly clientId?: string | undefined;
}

interface Place {
  readonly room: string;
  readonly up: string;
}

/**
 * The form by which a guest logs in; a text that found no session waits in it.
 * Buttons are inputs here and everywhere, for browsers that are older than `button`.
 */
export function logInForm({ room, up }: Place, token: string, typed: Typed = {}): Markup {
  const kept =
    typed.text === undefined
      ? undefined
      : html`<p><label for="text">What you wrote is kept:</label></p>
${textArea(typed.text)}<input type="hidden" name="clientId" value="${typed.clientId}">`;
  return html`<form class="join" method="post" action="${up}${room}/log-in" accept-charset="utf-8">
<input type="hidden" name="formToken" value="${token}">
<p><label for="name">Your name</label></p>
<p><input id="name" name="name" type="text" size="30" required autocomplete="nickname" value="${typed.name}">
<input type="submit" value="Join"></p>
${kept}
</form>`;
}

export function logOutForm({ room, up }: Place, token: string): Markup {
  return html`<form class="leave" method="post" action="${up}${room}/log-out"><p><input type="hidden" name="formToken" value="${token}"><input type="submit" value="Log out"></p></form>`;
}

/** The form by which one posts. What it sends has a key of its own, so that sending it again posts nothing twice. */
export function postForm(
  { room, up }: Place,
  title: string,
  token: string,
  typed: Typed = {},
  newClientId: () => string,
): Markup {
  return html`<form class="composer" method="post" action="${up}${room}/post" accept-charset="utf-8">
<input type="hidden" name="formToken" value="${token}">
<input type="hidden" name="clientId" value="${typed.clientId ?? newClientId()}">
<p><label for="text">Message to <bdi>${title}</bdi></label></p>
${textArea(typed.text)}
<p><input type="submit" value="Send"></p>
</form>`;
}

/** The form by which a membership begins or ends. */
export function membershipForm({ room, up }: Place, { isMember }: RoomView, token: string): Markup {
  const [change, words] = isMember ? ['leave', 'Leave this room'] : ['join', 'Join this room'];
  return html`<form class="membership" method="post" action="${up}${room}/${change}"><p><input type="hidden" name="formToken" value="${token}"><input type="submit" value="${words}"></p></form>`;
}

/** [spec] WHATWG HTML, 13.1.2.5: a line end right behind the tag is no part of the text, so one is put there. */
function textArea(text = ''): Markup {
  return html`<p><textarea id="text" name="text" rows="3" cols="60" dir="auto">\n${text}</textarea></p>`;
}
