import type { Access } from '../ask.ts';
import { type ClientOptions, type RoomView, ThroughlineClient } from '../client.ts';
import type { State } from '../feed.ts';
import type { Given, WidgetTells } from '../frame-messages.ts';
import { type Change, Chat } from '../page/chat.ts';
import { draftsKey, openComposer } from '../page/composer.ts';
import { find, onClick } from '../page/elements.ts';
import { loadLinks } from '../page/load-links.ts';
import { openLogIn } from '../page/log-in.ts';
import { openMessagesView } from '../page/messages-view.ts';
import { showOutbox } from '../page/outbox-view.ts';
import { marksKey } from '../page/read-marks.ts';
import { codeOf, wordsForCode, wordsForError } from '../page/refusals.ts';
import { openStatusLine, wordsOf } from '../page/status-line.ts';
import { type Memory, memoryWithin, PREFIX } from '../page/storage.ts';
import { openMarkup, type Words } from '../page/strings.ts';
import { rowsOf } from '../page/timeline.ts';
import { openArrival } from './arrival.ts';
import { openBearer } from './bearer.ts';
import { applyColour } from './colour.ts';
import { openHostLine } from './host-line.ts';
import { placeOfPath } from './place.ts';
import { openPopOut } from './pop-out.ts';
import { Session } from './session.ts';

/** A session that ends again within this won't be got back by asking once more. */
const FLAP_MS = 5000;

/** Puts the chat of one room and its views together, in a frame or in a window of its own. */
export function openFrame(base: string, memory: Memory, t: Words, given: Given): void {
  const { site, room } = placeOfPath(location.pathname);
  const words = () => t;
  const say = (error: unknown) => {
    find('allow').hidden = codeOf(error) !== 'no_cookies' || !document.requestStorageAccess;
    return wordsForError(error, t);
  };
  const bearer = openBearer(typeof WebSocket === 'function' ? WebSocket : undefined);
  const access: Access = { url: base, fetch: bearer.fetch, site: site === 'main' ? '' : `site=${site}&` };
  const session = new Session(access, bearer);
  /** Users of several sites may have the same id. */
  const within = site === 'main' ? '' : `${site}/`;
  const own = memoryWithin(memory, within);
  const isBubble = given.mode === 'bubble';
  let isShown = !isBubble;
  let endedAt = Number.NEGATIVE_INFINITY;

  /** Everything else of the site is for pages of its own. */
  class OneRoomClient extends ThroughlineClient {
    override async rooms(): Promise<RoomView[]> {
      return (await super.rooms()).filter((view) => view.room === room);
    }
  }
  const { fetch, WebSocket: Socket } = bearer;
  const options: ClientOptions = Object.assign({ url: base, site, fetch }, Socket && { WebSocket: Socket });

  const wake = () => chat.wake();
  const showState = openStatusLine(words, wake);

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
    if (has('people') || has('opened')) {
      const count = chat.open ? chat.open.roster.count() : 0;
      find('people-count').textContent = count ? t('peopleCount', { n: count }) : '';
    }
    composer.setClosed(chat.open?.view.closed === true);
    chat.noteRead();
    tellUnread(chat.unreadInAll());
  };
  let toldUnread = 0;
  const tellUnread = (count: number) => {
    if (count !== toldUnread) host.tell({ throughline: 'unread', count });
    toldUnread = count;
  };

  /** Only one of these is to be seen at a time. */
  const showPart = (shown: 'app' | 'door' | 'waiting') => {
    for (const id of ['app', 'door', 'waiting']) find(id).hidden = id !== shown;
  };
  /** The keyboard stands on the first of these that is to be seen: what isn't takes no focus. */
  const takeFocus = () => {
    for (const id of ['text', 'name', 'members-only', 'waiting-now', 'scroller']) {
      find(id).focus();
      if (document.activeElement === find(id)) return;
    }
  };
  const showDoor = (message = '') => {
    showPart('door');
    find('door-alert').textContent = message;
    // Whoever does something else in the host page isn't to be torn away.
    if (document.hasFocus()) takeFocus();
  };

  const chat = new Chat(
    () => new OneRoomClient(options),
    own,
    { tell() {} },
    {
      isWatching: () => isShown && !document.hidden && view.isAtBottom(),
      changed(change) {
        if (due.size === 0) setTimeout(draw);
        due.add(change);
      },
      state: (state) => tellState(state),
      entered(user) {
        showPart('app');
        find('log-out').hidden = !user.guest;
        tellFault('');
        chat.room = room;
      },
      left(isEnded) {
        composer.shut();
        find('log').textContent = '';
        tellUnread(0);
        showDoor(isEnded ? t('ended') : '');
        const isFlapping = performance.now() - endedAt < FLAP_MS;
        endedAt = performance.now();
        // Another tab may have logged in anew, or the host vouches for the user again.
        if (isEnded && !isFlapping) void arrival.lapsed();
      },
      failed: (error) => tellFault(say(error)),
    },
  );
  const tellState = (state: State) => {
    showState(state);
    if (state.phase !== 'offline' || chat.me || !find('door').hidden) return;
    showPart('waiting');
    find('waiting-why').textContent = wordsOf(state, t).text;
  };

  const arrival = openArrival(session, given, {
    entered(user) {
      if (chat.me && chat.me.id === user.id) {
        // What is open goes on over the log-in of before, which ends sooner.
        chat.client.suspend();
        chat.client.resume();
        return;
      }
      chat.leave(false);
      void chat.enter(user);
    },
    door(error) {
      showDoor(error === undefined ? '' : say(error));
      if (error !== undefined) host.tell({ throughline: 'error', code: codeOf(error) ?? 'internal' });
    },
    askForClaims(isQuiet) {
      if (!chat.me && !isQuiet) {
        showPart('waiting');
        find('waiting-why').textContent = t('connecting');
      }
      host.tell({ throughline: 'claims' });
    },
    state: tellState,
    onWait: (hurry) => {
      chat.hurry = hurry;
    },
  });

  /** Ends the session, be it there already or under way, and what is kept of its user with it. */
  const logOut = async (message = '') => {
    const { me } = chat;
    arrival.stop();
    try {
      if (me) {
        await session.settled();
        await chat.logOut();
      } else await session.end();
    } catch (error) {
      return showDoor(say(error));
    }
    if (chat.me) return;
    session.forget();
    if (me) {
      own.remove(marksKey(me.id));
      own.remove(draftsKey(me.id));
    }
    showDoor(message);
  };

  const heed = (message: WidgetTells) => {
    switch (message.throughline) {
      case 'shown':
        isShown = message.isShown;
        if (!isShown) return;
        chat.noteRead();
        view.settle();
        takeFocus();
        return;
      case 'claims':
        return void arrival.vouched(message.claims);
      case 'ended':
        if (!chat.me) return void arrival.unvouched();
        // A guest is nobody whom the host could have logged out.
        return chat.me.guest ? undefined : void logOut(t('ended'));
      case 'reset':
        return void logOut();
      default:
        message satisfies never;
    }
  };
  const host = openHostLine(given, heed);

  const links = loadLinks(base, () => view.refreshTexts());
  const view = openMessagesView({
    words,
    textNodes: links,
    isOwn: ({ user }) => chat.me !== undefined && user.id === chat.me.id,
    nearTop: () => void chat.loadOlder(),
    moved: () => chat.noteRead(),
  });
  const composer = openComposer(own, words, {
    maySend: () => chat.isReady,
    send(text) {
      tellFault('');
      view.toBottom();
      chat.say(text);
      view.toBottom();
    },
    grew: () => view.settle(),
  });
  openLogIn({
    logIn: (name) => session.enter({ name }),
    entered: arrival.arrive,
    wordsFor: say,
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
    find('missing-why').textContent = t('noRoom', { room });
    find('latest').hidden = true;
    drawMessages('opened');
    find('title').textContent = document.title = held ? held.view.title : room;
    if (held && chat.me) composer.open(chat.me.id, room, held.view.title);
  };

  const drawOutbox = () => {
    showOutbox(chat.onTheirWay(), t, (code) => wordsForCode(code, t), {
      retry: (clientId) => chat.client.retry(clientId),
      discard: (clientId) => chat.discard(clientId),
    });
    view.settle();
  };

  const close = () => host.tell({ throughline: 'close' });
  find('shut').hidden = !isBubble || !host.isInWidget;
  onClick('shut', close);
  document.addEventListener('keydown', ({ key, isComposing }) => {
    if (key === 'Escape' && isBubble && !isComposing) close();
  });
  onClick('log-out', () => void logOut());
  onClick('load-older', () => void chat.loadOlder());
  onClick('waiting-now', wake);
  onClick('allow', () => {
    document.requestStorageAccess().then(arrival.begin, (error) => showDoor(say(error)));
  });
  document.addEventListener('visibilitychange', () => chat.noteRead());
  addEventListener('online', () => chat.hurry());
  addEventListener('storage', ({ key }) => {
    if (!chat.me || !chat.marks || key !== PREFIX + within + marksKey(chat.me.id)) return;
    chat.marks.refresh();
    chat.host.changed('rooms');
  });

  const root = document.documentElement;
  const theme = given.theme ?? memory.get('theme');
  if (theme) root.setAttribute('data-theme', theme);
  const isForMembers = root.getAttribute('data-guests') === 'refused';
  find('log-in').classList.toggle('members', isForMembers);
  for (const field of Array.from(document.querySelectorAll<HTMLElement>('.for-guests')))
    field.hidden = isForMembers;
  find('members-only').hidden = !isForMembers;
  applyColour(root, given.color);
  openPopOut(given, arrival.claims);
  openMarkup(root)(t);
  showState();
  void arrival.begin();
  host.tell({ throughline: 'ready' });
}
