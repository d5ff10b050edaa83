import type { ThroughlineClient } from '../client.ts';
import type { State } from '../feed.ts';
import { openAlerts } from './alerts.ts';
import { type Change, Chat } from './chat.ts';
import { draftsKey, openComposer } from './composer.ts';
import { openDrawers } from './drawers.ts';
import { avatarOf, find, markOf, onClick } from './elements.ts';
import { loadLinks } from './load-links.ts';
import { openLogIn } from './log-in.ts';
import { openMessagesView } from './messages-view.ts';
import { openNewRoom } from './new-room.ts';
import { showOutbox } from './outbox-view.ts';
import { showPeople } from './people-view.ts';
import { marksKey } from './read-marks.ts';
import { wordsForCode, wordsForError } from './refusals.ts';
import { LOBBY, roomOfPath } from './rooms.ts';
import { badgeOf, showRooms } from './rooms-view.ts';
import { applyTheme, chosenLanguage, openSettings } from './settings.ts';
import { openStatusLine, wordsOf } from './status-line.ts';
import { type Memory, PREFIX } from './storage.ts';
import { fetchWords, openMarkup, type Words } from './strings.ts';
import { rowsOf } from './timeline.ts';

const LIST_EVERY_MS = 60_000;

/** Puts the chat and its views together. `base`: where the service is, without a slash at the end. `t`: how it speaks at first. */
export function openPage(base: string, memory: Memory, t: Words, makeClient: () => ThroughlineClient): void {
  const words = () => t;
  const translate = openMarkup(document.documentElement);
  const say = (error: unknown) => wordsForError(error, t);
  const alerts = openAlerts(memory, words);
  const drawers = openDrawers();
  const hrefOf = (room: string) => `${base}/rooms/${encodeURIComponent(room)}`;
  const wake = () => chat.wake();
  const showState = openStatusLine(words, wake);
  /** What somebody was writing when their session ended: theirs again if they come back by the same name. */
  let carried: { name: string; room: string; text: string } | undefined;
  const isWatching = () => !document.hidden && document.hasFocus() && view.isAtBottom();

  const due = new Set<Change>();
  /** News comes in bunches: each is drawn once. */
  const draw = () => {
    const changes = Array.from(due);
    due.clear();
    if (!chat.me) return;
    const has = (change: Change) => changes.indexOf(change) >= 0;
    if (has('opened')) drawOpened();
    else if (has('older')) drawMessages('older');
    if (has('news') && !has('opened')) drawMessages('news');
    if (has('outbox') || has('opened')) drawOutbox();
    if (has('rooms')) drawRooms();
    if (has('people') || has('opened')) {
      showPeople(chat.open ? chat.open.roster : undefined, chat.me.id, t);
      find('my-mark').textContent = markOf(chat.me, t);
    }
    composer.setClosed(chat.open?.view.closed === true);
    chat.noteRead();
  };

  const chat = new Chat(makeClient, memory, alerts, {
    isWatching,
    changed(change) {
      if (due.size === 0) setTimeout(draw);
      due.add(change);
    },
    state(state: State) {
      showState(state);
      // Nobody knows yet who is here: neither the chat nor the door can be shown.
      const isUnknown = !chat.me && find('door').hidden;
      find('waiting').hidden = !isUnknown || (state.phase !== 'offline' && find('waiting').hidden);
      if (state.phase === 'offline') find('waiting-why').textContent = wordsOf(state, t).text;
    },
    entered(user) {
      find('door').hidden = find('waiting').hidden = true;
      find('app').hidden = false;
      find('my-name').textContent = user.name;
      find('my-avatar').replaceChildren(avatarOf(user));
      tellFault('');
      chat.room = roomOfPath(location.pathname);
    },
    left(isEnded) {
      drawers.close();
      for (const dialog of Array.from(document.querySelectorAll('dialog[open]')))
        (dialog as HTMLDialogElement).close();
      const name = find('my-name').textContent ?? '';
      if (isEnded) carried = { name, room: chat.room, text: composer.text() };
      composer.shut();
      find('app').hidden = find('waiting').hidden = true;
      find('door').hidden = false;
      find('log').textContent = '';
      alerts.title('', 0);
      askForName(isEnded ? t('ended') : '', isEnded ? name : '');
    },
    failed: (error) => tellFault(say(error)),
  });

  const links = loadLinks(base, () => view.refreshTexts());
  const view = openMessagesView({
    words,
    textNodes: links,
    isOwn: ({ user }) => chat.me !== undefined && user.id === chat.me.id,
    nearTop: () => void chat.loadOlder(),
    moved: () => chat.noteRead(),
  });
  const composer = openComposer(memory, words, {
    maySend: () => chat.isReady,
    send(text) {
      tellFault('');
      view.toBottom();
      chat.say(text);
      view.toBottom();
    },
    grew: () => view.settle(),
  });
  const askForName = openLogIn({
    logIn: (name) => chat.client.logIn(name),
    entered: (user) => void chat.enter(user),
    wordsFor: say,
  });
  openNewRoom({
    create: (room, title) => chat.createRoom(room, title),
    created: (room) => go(room),
    wordsFor: say,
  });
  openSettings(memory, words, alerts, {
    async changedLanguage() {
      t = await fetchWords(base, chosenLanguage(memory));
      speak();
    },
    logOut() {
      const { me } = chat;
      void chat.logOut().then(() => {
        if (chat.me || !me) return;
        memory.remove(marksKey(me.id));
        memory.remove(draftsKey(me.id));
      });
    },
  });

  const tellFault = (message: string) => {
    find('alert').textContent = message;
    view.settle();
  };

  const drawMessages = (occasion: 'opened' | 'older' | 'news') => {
    const held = chat.open;
    const note = find('older-note');
    if (!held) {
      note.textContent = '';
      return view.show([], 'opened');
    }
    const { timeline, isFollowed, hasFailed } = held;
    note.textContent =
      !isFollowed || timeline.hasMore
        ? t('loading')
        : timeline.messages.length === 0
          ? t('empty')
          : t(timeline.floor === '0-0' ? 'beginning' : 'trimmed');
    find('load-older').hidden = !hasFailed;
    note.hidden = hasFailed;
    view.show(rowsOf(timeline, held.readUpTo), occasion);
    if (isFollowed && timeline.hasMore && !hasFailed && view.isShort()) void chat.loadOlder();
  };

  const drawOpened = () => {
    const held = chat.open;
    find('missing').hidden = !chat.isMissing;
    find('scroller').hidden = find('composer').hidden = chat.isMissing;
    find('missing-why').textContent = t('noRoom', { room: chat.room });
    find('latest').hidden = true;
    drawMessages('opened');
    if (!held || !chat.me) return;
    const { room, title } = held.view;
    const isBack = carried && carried.name === chat.me.name && carried.room === room;
    composer.open(chat.me.id, room, title, isBack && carried ? carried.text : undefined);
    if (isBack) carried = undefined;
  };

  const drawOutbox = () => {
    showOutbox(chat.onTheirWay(), t, (code) => wordsForCode(code, t), {
      retry: (clientId) => chat.client.retry(clientId),
      discard: (clientId) => chat.discard(clientId),
    });
    view.settle();
  };

  const drawRooms = () => {
    const held = chat.open;
    const listed = Array.from(chat.rooms.values(), (each) =>
      Object.assign({ unread: chat.unreadOf(each), isOpen: each === held }, each.view),
    );
    showRooms(listed, t, hrefOf);
    const title = held ? held.view.title : chat.room;
    find('title').textContent = title;
    const unread = chat.unreadInAll();
    const elsewhere = unread - (held ? chat.unreadOf(held) : 0);
    find('elsewhere').hidden = elsewhere === 0;
    find('elsewhere').textContent = badgeOf(elsewhere);
    alerts.title(title, unread);
    const membership = find('membership');
    membership.hidden = !held || held.view.room === LOBBY;
    if (held) membership.textContent = t(held.view.isMember ? 'leave' : 'join');
  };

  /** Says everything anew, in the language of now. */
  const speak = () => {
    translate(t);
    showState();
    for (const change of ['opened', 'rooms', 'people', 'outbox'] as const) chat.host.changed(change);
  };

  const go = (room: string) => {
    drawers.close();
    const isElsewhere = room !== roomOfPath(location.pathname);
    if (isElsewhere) history.pushState(null, '', hrefOf(room));
    chat.show(room);
    composer.focus();
  };
  onClick('to-lobby', (event) => {
    event.preventDefault();
    go(LOBBY);
  });
  onClick('room-lists', (event) => {
    const link = (event.target as Element).closest('a');
    const room = link?.getAttribute('data-room');
    if (!room || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(room);
  });
  addEventListener('popstate', () => {
    if (chat.me) chat.show(roomOfPath(location.pathname));
  });
  onClick('membership', () => {
    const held = chat.open;
    if (!held) return;
    chat.setMembership(!held.view.isMember).then(
      () => {
        if (roomOfPath(location.pathname) !== chat.room) history.pushState(null, '', hrefOf(chat.room));
      },
      (error) => tellFault(say(error)),
    );
  });
  find('filter').addEventListener('input', drawRooms);
  onClick('load-older', () => void chat.loadOlder());
  onClick('waiting-now', wake);
  let today = new Date().toDateString();
  const lookAgain = () => {
    if (document.hidden || !chat.me) return;
    // Past midnight today's divider is yesterday's.
    if (today !== new Date().toDateString() && view.isAtBottom()) {
      today = new Date().toDateString();
      chat.host.changed('opened');
    }
    chat.noteRead();
    chat.listRooms().catch(() => {});
  };
  document.addEventListener('visibilitychange', lookAgain);
  addEventListener('focus', () => chat.noteRead());
  addEventListener('online', () => chat.hurry());
  setInterval(() => {
    const held = chat.open;
    lookAgain();
    // In a crowd nobody tells of comings and goings.
    if (held && !document.hidden && held.roster.count() > held.roster.list().length) void chat.askWhoIsHere();
  }, LIST_EVERY_MS);
  addEventListener('storage', ({ key }) => {
    if (!chat.me || !chat.marks || key !== PREFIX + marksKey(chat.me.id)) return;
    chat.marks.refresh();
    chat.host.changed('rooms');
  });

  applyTheme(memory);
  speak();
  void chat.start().catch((error: unknown) => {
    find('waiting').hidden = false;
    find('waiting-why').textContent = say(error);
  });
}
