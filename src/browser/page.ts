import type { MessageEntry as Message } from '../chat/entries.ts';
import type { User } from '../chat/users.ts';

interface History {
  readonly events: readonly Message[];
  readonly cursor: string;
  readonly more: boolean;
}

type State = 'connecting' | 'live' | 'reconnecting' | 'off';

const ROOM = 'api/rooms/lobby/messages';
const ANSWER_WITHIN_MS = 15_000;
const SEND_TRIES = 6;
const MAX_SHOWN = 1000;
const ENDED = 'Your session has ended. Please join again.';
const STATES: Record<State, string> = {
  connecting: 'Connecting…',
  live: 'Live',
  reconnecting: 'Reconnecting…',
  off: 'Not connected',
};

/** The service said no, as `{error: {code, message}}`; `unreachable` if it said nothing. */
class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const joinForm = find<HTMLFormElement>('join');
const nameField = find<HTMLInputElement>('name');
const room = find('room');
const log = find('log');
const latest = find('latest');
const composer = find<HTMLFormElement>('composer');
const textField = find<HTMLTextAreaElement>('text');

const shownIds = new Set<string>();
let lastShown: Message | undefined;
let me: User | undefined;
let cursor: string | undefined;
let source: EventSource | undefined;
let patience: number | undefined;
/** Which attempt to connect is the current one; what an older one still hears is void. */
let visit = 0;
let failures = 0;
let shownState: State = 'connecting';
let isAtBottom = true;
let isSending = false;
/** The text last tried and the id it goes by, so that trying again can't send it twice. */
let draft: { text: string; clientId: string } | undefined;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const backOff = (attempt: number) => (0.5 + Math.random() / 2) * Math.min(30_000, 1000 * 2 ** attempt);

async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ANSWER_WITHIN_MS);
  try {
    const sent = body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    const response = await fetch(path, { method, signal: stop.signal, ...sent });
    const answer = response.status === 204 ? undefined : await response.json();
    if (response.ok) return answer as T;
    throw new Refused(String(answer.error.code), String(answer.error.message));
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused('unreachable', 'The service can’t be reached.');
  } finally {
    clearTimeout(timer);
  }
}

function showState(state: State): void {
  if (state === shownState) return;
  shownState = state;
  const status = find('status');
  status.setAttribute('data-state', state);
  status.textContent = STATES[state];
}

function alertOf(message: string): void {
  find('join-alert').textContent = room.hidden ? message : '';
  find('room-alert').textContent = room.hidden ? '' : message;
  if (isAtBottom) toBottom();
}

function showJoin(message = ''): void {
  visit++;
  stopListening();
  forgetRoom();
  showState('off');
  room.hidden = find('me').hidden = true;
  joinForm.hidden = false;
  alertOf(message);
  nameField.focus();
}

function showRoom(user: User): void {
  me = user;
  find('my-name').textContent = user.name;
  if (!room.hidden) return;
  joinForm.hidden = true;
  room.hidden = find('me').hidden = false;
  alertOf('');
  textField.focus();
}

function forgetRoom(): void {
  me = cursor = lastShown = undefined;
  shownIds.clear();
  log.replaceChildren();
  latest.hidden = isAtBottom = true;
}

/** Asks who we are, loads the history if there is no cursor to go on from, and listens; until it works. */
async function connect(): Promise<void> {
  const mine = ++visit;
  stopListening();
  showState(cursor === undefined ? 'connecting' : 'reconnecting');
  for (;;) {
    try {
      const { user } = await ask<{ user: User | null }>('GET', 'api/session');
      if (mine !== visit) return;
      if (!user) return showJoin(me && ENDED);
      showRoom(user);
      const history = cursor === undefined ? await ask<History>('GET', `${ROOM}?limit=50`) : undefined;
      if (mine !== visit) return;
      if (history) showHistory(history);
      return listen();
    } catch (error) {
      if (mine !== visit) return;
      if ((error as Refused).code === 'no_session') return showJoin(ENDED);
      if (!room.hidden) alertOf((error as Refused).message);
      await pause(backOff(failures++));
      if (mine !== visit) return;
    }
  }
}

function listen(): void {
  const stream = new EventSource(`api/stream?rooms=lobby&after=${encodeURIComponent(cursor ?? '')}`);
  source = stream;
  let patienceMs = 60_000;
  const hear = (kind: string, act?: (data: string) => void) =>
    stream.addEventListener(kind, (event: MessageEvent<string>) => {
      if (stream !== source) return;
      if (event.lastEventId) cursor = event.lastEventId;
      clearTimeout(patience);
      patience = setTimeout(connect, patienceMs);
      act?.(event.data);
    });
  patience = setTimeout(connect, patienceMs);
  hear('message', (data) => showNews(JSON.parse(data) as Message));
  hear('heartbeat');
  hear('hello', (data) => {
    patienceMs = 2 * (JSON.parse(data) as { heartbeat: number }).heartbeat + 5000;
    if (failures > 0 && !isSending) alertOf('');
    failures = 0;
    showState('live');
  });
  hear('gap', () => {
    markGap();
    cursor = undefined;
    void connect();
  });
  hear('bye', (data) => {
    const { code, retry } = JSON.parse(data) as { code: string; retry?: number };
    if (code === 'session_ended') showJoin(ENDED);
    else if (retry === undefined)
      stopListening('The service has closed this connection. Reload the page to come back.');
  });
  stream.onerror = () => {
    if (stream !== source) return;
    showState('reconnecting');
    if (stream.readyState === EventSource.CLOSED) comeBackLater();
  };
}

function comeBackLater(): void {
  stopListening();
  const mine = visit;
  void pause(backOff(failures++)).then(() => (mine === visit ? connect() : undefined));
}

function stopListening(message?: string): void {
  clearTimeout(patience);
  source?.close();
  source = undefined;
  if (message === undefined) return;
  showState('off');
  alertOf(message);
}

function showHistory(history: History): void {
  log.setAttribute('aria-live', 'off');
  if (history.more && !log.firstChild) log.append(noteOf('Earlier messages are not shown'));
  history.events.forEach(show);
  cursor = history.cursor;
  if (isAtBottom) toBottom();
  setTimeout(() => log.removeAttribute('aria-live'), 500);
}

function showNews(message: Message): void {
  if (!show(message)) return;
  if (isAtBottom || message.user.id === me?.id) toBottom();
  else latest.hidden = false;
}

function show(message: Message): boolean {
  if (shownIds.has(message.id)) return false;
  shownIds.add(message.id);
  log.append(elementOf(message));
  lastShown = message;
  if (isAtBottom && log.childElementCount > MAX_SHOWN) log.firstElementChild?.remove();
  return true;
}

function elementOf({ at, user, text }: Message): HTMLElement {
  const isOwn = user.id === me?.id;
  const follows = lastShown?.user.id === user.id && at - lastShown.at < 300_000;
  const name = make('p', `name${follows ? ' unseen' : ''}`);
  name.append(make('bdi', '', isOwn ? `${user.name} (you)` : user.name));
  const bubble = make('div', 'bubble');
  const words = make('p', '', text);
  words.dir = 'auto';
  bubble.append(words, timeOf(new Date(at)));
  const message = make('article', `message${isOwn ? ' own' : ''}${follows ? ' follows' : ''}`);
  message.append(name, bubble);
  return message;
}

function timeOf(date: Date): HTMLTimeElement {
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const isToday = date.toDateString() === new Date().toDateString();
  const day = isToday ? '' : `${date.toLocaleDateString([], { day: 'numeric', month: 'short' })}, `;
  const time = make('time', '', day + clock);
  time.dateTime = date.toISOString();
  time.title = date.toLocaleString();
  return time;
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

const noteOf = (text: string, kind = '') => make('p', `note ${kind}`.trim(), text);

function markGap(): void {
  lastShown = undefined;
  if (log.lastElementChild?.classList.contains('gap')) return;
  log.append(noteOf('some messages may be missing here', 'gap'));
  if (isAtBottom) toBottom();
}

function toBottom(): void {
  log.scrollTop = log.scrollHeight;
  isAtBottom = latest.hidden = true;
}

function noteScroll(): void {
  isAtBottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (isAtBottom) latest.hidden = true;
}

async function join(): Promise<void> {
  if (isSending) return;
  setSending(true);
  try {
    const { user } = await ask<{ user: User }>('POST', 'api/session', { name: nameField.value });
    showRoom(user);
    void connect();
  } catch (error) {
    alertOf((error as Refused).message);
    nameField.focus();
  } finally {
    setSending(false);
  }
}

async function leave(): Promise<void> {
  try {
    await ask('POST', 'api/session/end');
  } catch (error) {
    if ((error as Refused).code !== 'no_session') return alertOf((error as Refused).message);
  }
  textField.value = '';
  fitText();
  showJoin();
}

/** Sends what is in the composer, which keeps it until the service has it. */
async function send(): Promise<void> {
  const sender = me?.id;
  const text = textField.value;
  if (isSending || text.trim() === '') return;
  if (draft?.text !== text) draft = { text, clientId: newClientId() };
  setSending(true);
  for (let attempt = 0; me && me.id === sender; attempt++) {
    const refused = await ask('POST', ROOM, draft).then(
      () => undefined,
      (error: Refused) => error,
    );
    if (!me || me.id !== sender) break;
    const mayPass = refused && ['unavailable', 'unsure', 'unreachable'].includes(refused.code);
    if (mayPass && attempt + 1 < SEND_TRIES) {
      alertOf(`${refused.message} Trying again…`);
      await pause(backOff(attempt));
      continue;
    }
    settle(refused);
    break;
  }
  setSending(false);
}

function settle(refused: Refused | undefined): void {
  if (refused?.code === 'client_id_reused') draft = undefined;
  if (refused?.code === 'no_session') showJoin(ENDED);
  else if (refused) alertOf(refused.message);
  else {
    draft = undefined;
    textField.value = '';
    fitText();
    alertOf(shownState === 'live' ? '' : 'Sent. It will appear here once the connection is back.');
  }
}

function setSending(is: boolean): void {
  isSending = textField.readOnly = is;
  for (const id of ['send', 'enter']) find(id).setAttribute('aria-disabled', String(is));
}

function newClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fitText(): void {
  textField.style.height = 'auto';
  textField.style.height = `${textField.scrollHeight + 2}px`;
  if (isAtBottom) toBottom();
}

function onSubmit(form: HTMLFormElement, act: () => Promise<void>): void {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void act();
  });
}

onSubmit(joinForm, join);
onSubmit(composer, send);
find('leave').addEventListener('click', leave);
latest.addEventListener('click', toBottom);
log.addEventListener('scroll', noteScroll, { passive: true });
textField.addEventListener('input', () => {
  fitText();
  if (shownState === 'live') alertOf('');
});
textField.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void send();
});
addEventListener('resize', () => isAtBottom && toBottom());
addEventListener('online', () => me && source?.readyState !== EventSource.OPEN && connect());
void connect();
