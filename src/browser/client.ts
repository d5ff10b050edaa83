import type { GapNotice, MessageEntry, PresenceEntry } from '../chat/entries.ts';
import type { User } from '../chat/users.ts';
import { type Access, ask, Refused } from './ask.ts';
import type { WebSocketLike } from './carrier.ts';
import { Connection, type Memory } from './connection.ts';
import { earlierCursor, isToldAt } from './cursors.ts';
import type { CarrierName, Feed, FeedListener, News, OfflineReason, State } from './feed.ts';
import { type Outbox, openOutbox, type Pending } from './outbox.ts';
import { type DatabaseFactory, type OutboxStore, openStore } from './outbox-store.ts';
import { placed, pollOnce } from './poll.ts';
import { Progress } from './progress.ts';
import { type Apart, type SharedFeed, shareFeed } from './tabs.ts';
import { listenForWakeUps } from './wake-ups.ts';

export { Refused } from './ask.ts';

/** A page of a room's history, oldest first. */
export interface Page {
  readonly events: readonly MessageEntry[];
  /** Everything up to here is in this page or before it: one follows from it. */
  readonly cursor: string;
  /** Whether there is more in the direction that was read. */
  readonly more: boolean;
  /** The id up to which entries have left the room's log. */
  readonly floor: string;
}

/** A room as one user sees it. */
export interface RoomView {
  readonly room: string;
  readonly title: string;
  readonly n: number;
  readonly members: number;
  readonly isMember: boolean;
}

/** Who is in a room: the first ones, and how many there are in all. */
export interface People {
  readonly people: readonly User[];
  readonly count: number;
  readonly cursor: string;
}

export interface ClientOptions {
  /** The service's base URL or base path, without a slash at the end. Default: the root of the page's origin. */
  readonly url?: string;
  /** Goes on from here instead of from each room's history. */
  readonly cursor?: string;
  /** Longest quiet on a stream, in ms, 1,000 at least; default: the service's own. */
  readonly heartbeatMs?: number;
  /** The ladder, best rung first; default: all that can be had here. */
  readonly carriers?: readonly CarrierName[];
  readonly fetch?: typeof fetch;
  readonly WebSocket?: WebSocketLike;
  /** Where verdicts on carriers are kept for ten minutes; default: localStorage, where there is one. */
  readonly memory?: Memory;
  /** Whether tabs of a browser share one connection; default: where they can. */
  readonly share?: boolean;
  /** Where posts wait to be sent; default: IndexedDB, else localStorage, else memory. */
  readonly outbox?: OutboxStore;
}

/** What a client tells, by name. */
export interface ClientEvents {
  message: MessageEntry;
  /** The log can't vouch for what came before the next message of this room: reload its history, mark the place. */
  gap: GapNotice;
  presence: PresenceEntry;
  state: State;
  /** A post of this user was added to the outbox, or its status changed. */
  outbox: Pending;
  /** Nothing is told any more, and nothing tried: nobody is logged in, or the service refused for good. */
  ended: { readonly reason: OfflineReason };
}

type Listeners = { [K in keyof ClientEvents]?: Set<(event: ClientEvents[K]) => void> };

const ALL: readonly CarrierName[] = ['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'];
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
const ADOPT_EVERY_MS = 5000;
const TAB_KEY = 'throughline:tab';

/**
 * A chat client that gets through: follows rooms over whichever carrier this network lets pass, tells every message
 * once and in order or a `gap`, and keeps what is posted until the service has it. Runs in browsers and in Node.js.
 */
export class ThroughlineClient {
  readonly #options: ClientOptions;
  readonly #access: Access;
  readonly #listeners: Listeners = {};
  readonly #rooms = new Set<string>();
  /** Cursors up to which a room's history was loaded: events up to there aren't news. */
  readonly #loaded = new Map<string, string>();
  /** What came for rooms whose history is still being loaded. */
  readonly #held = new Map<string, News[]>();
  #user: User | undefined;
  #state: State = { phase: 'connecting' };
  #feed: Feed | undefined;
  #progress: Progress | undefined;
  #shared: SharedFeed | undefined;
  #outbox: Outbox | undefined;
  #keptIn: OutboxStore['kind'] | undefined;
  #adopting: ReturnType<typeof setInterval> | undefined;
  readonly #stopListening: () => void;
  #interrupt: () => void = () => {};
  #isHidden = false;
  #isSuspended = false;
  #isClosed = false;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    const fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#access = { url: options.url ?? '', fetch };
    this.#stopListening = listenForWakeUps(this);
  }

  get user(): User | undefined {
    return this.#user;
  }

  get state(): State {
    return this.#state;
  }

  /** Everything of the followed rooms up to here has been told; undefined before `connect`. */
  get cursor(): string | undefined {
    return this.#progress?.cursor;
  }

  /** Calls `listener` with each event of that name; answers the function that stops that. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void {
    const listeners: Set<typeof listener> = this.#listeners[name] ?? new Set();
    this.#listeners[name] = listeners as never;
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Logs a guest in. Rejects with `Refused`: `name_taken`, `invalid_field`, … */
  async logIn(name: string): Promise<User> {
    const { user } = await this.#ask<{ user: User }>('/session', { name });
    this.#user = user;
    return user;
  }

  /** Who is logged in here. */
  async whoAmI(): Promise<User | undefined> {
    const { user } = await this.#ask<{ user: User | null }>('/session');
    this.#user = user ?? undefined;
    return this.#user;
  }

  /** Ends the session, and this client. */
  async logOut(): Promise<void> {
    await this.#ask('/session/end', {});
    this.close();
  }

  async rooms(): Promise<RoomView[]> {
    return (await this.#ask<{ rooms: RoomView[] }>('/rooms')).rooms;
  }

  createRoom(room: string, title?: string): Promise<RoomView> {
    return this.#ask('/rooms', { room, ...(title && { title }) });
  }

  /** A page of a room's history: the latest, or the one before or after an id or cursor. */
  history(
    room: string,
    query: { readonly before?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<Page> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    return this.#ask(`/rooms/${room}/messages?${new URLSearchParams(given as [string, string][])}`);
  }

  people(room: string): Promise<People> {
    return this.#ask(`/rooms/${room}/people`);
  }

  /**
   * Follows rooms: resolves with the latest page of each, and from then on tells everything after it, once and in
   * order. Waits out what will pass. Rejects with `Refused` otherwise (`no_session`, `room_not_found`).
   */
  async connect(rooms: readonly string[] = []): Promise<Map<string, Page>> {
    const user = this.#user ?? (await this.#insist(() => this.whoAmI()));
    if (!user) throw new Refused('no_session', 'Nobody is logged in.', 401);
    await this.#openOutbox(user);
    if (this.#options.cursor !== undefined) {
      for (const room of rooms) this.#rooms.add(room);
      this.#start(this.#options.cursor);
      return new Map();
    }
    const pages = await Promise.all(
      rooms.map(async (room) => [room, await this.#insist(() => this.history(room))] as const),
    );
    for (const [room, { cursor }] of pages) {
      this.#rooms.add(room);
      this.#loaded.set(room, cursor);
    }
    if (pages.length > 0) this.#start(pages.map(([, { cursor }]) => cursor).reduce(earlierCursor));
    return new Map(pages);
  }

  /** Becomes a member of a room and follows it. */
  async join(room: string): Promise<Page> {
    await this.#ask(`/rooms/${room}/join`, {});
    return this.follow(room);
  }

  /** Ends the membership, and no longer follows. */
  async leave(room: string): Promise<void> {
    await this.#ask(`/rooms/${room}/leave`, {});
    this.unfollow(room);
  }

  /** Follows one more room: its latest page, and from then on everything after it. */
  async follow(room: string): Promise<Page> {
    const isNew = !this.#rooms.has(room);
    this.#rooms.add(room);
    if (isNew && this.#progress) {
      // Registered first, so that nothing passes between the page and what is told.
      this.#held.set(room, []);
      this.#start(this.#progress.cursor);
    }
    try {
      const page = await this.#insist(() => this.history(room));
      this.#loaded.set(room, page.cursor);
      if (!this.#progress) this.#start(page.cursor);
      setTimeout(() => this.#release(room));
      return page;
    } catch (error) {
      if (isNew) this.unfollow(room);
      throw error;
    }
  }

  unfollow(room: string): void {
    this.#rooms.delete(room);
    this.#loaded.delete(room);
    this.#held.delete(room);
    if (this.#progress) this.#start(this.#progress.cursor);
  }

  /** Puts a message into the outbox, from where it is sent in order, and again until the service has it. */
  post(room: string, text: string): Pending {
    if (!this.#outbox) throw new Error('connect first');
    return this.#outbox.add(room, text);
  }

  retry(clientId: string): void {
    this.#outbox?.retry(clientId);
  }

  discard(clientId: string): void {
    this.#outbox?.discard(clientId);
  }

  /** What of this user's posts isn't sent yet, oldest first. */
  pending(): readonly Pending[] {
    return this.#outbox?.items() ?? [];
  }

  /** Where posts are kept until they are sent; `memory` doesn't survive a reload. */
  get keptIn(): OutboxStore['kind'] | undefined {
    return this.#keptIn;
  }

  /** Why this tab has a connection of its own, if it can't share one. */
  get apart(): Apart | undefined {
    return this.#shared?.apart;
  }

  /** Look again now: the network is back, the page is shown again. Browsers' own events do this by themselves. */
  wake(why: 'online' | 'shown'): void {
    this.#interrupt();
    this.#feed?.wake(why);
    this.#outbox?.wake();
  }

  /** Whether nobody looks at the page. Browsers' own events do this by themselves. */
  rest(isHidden: boolean): void {
    this.#isHidden = isHidden;
    this.#feed?.rest(isHidden);
  }

  /** Lets go of the connection, keeping its place. Browsers' own events do this by themselves. */
  suspend(): void {
    this.#isSuspended = true;
    this.#feed?.close();
    this.#feed = undefined;
  }

  /** Goes on from where it was suspended. */
  resume(): void {
    this.#isSuspended = false;
    if (this.#progress) this.#start(this.#progress.cursor);
    this.#outbox?.wake();
  }

  /** Ends everything; what is in the outbox stays there for the next client. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#interrupt();
    this.#stopListening();
    clearInterval(this.#adopting);
    this.#feed?.close();
    this.#feed = undefined;
    this.#outbox?.close();
  }

  #ask<T>(path: string, body?: object): Promise<T> {
    return ask(this.#access, `/api${path}`, { body });
  }

  /** Asks until there is an answer or a refusal for good. */
  async #insist<T>(question: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await question();
      } catch (error) {
        if (!(error instanceof Refused && error.isPassing) || this.#isClosed) throw error;
        const waitMs =
          (error.retryAfterMs ?? 0) + Math.random() * Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** tries);
        const { code } = error;
        const reason = code === 'unreachable' || code === 'blocked' ? code : 'busy';
        if (!this.#feed) this.#tellState({ phase: 'offline', reason, nextTryAt: Date.now() + waitMs });
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs);
          this.#interrupt = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    }
  }

  /** Follows the rooms from a cursor, whatever was followed before. */
  #start(cursor: string): void {
    this.#progress ??= new Progress(cursor);
    if (this.#isClosed || this.#isSuspended) return;
    if (this.#rooms.size === 0) {
      this.#feed?.close();
      this.#feed = undefined;
      return;
    }
    if (!this.#feed) {
      this.#feed = this.#openFeed();
      this.#feed.rest(this.#isHidden);
    }
    this.#feed.follow([...this.#rooms], cursor);
  }

  #openFeed(): Feed {
    const { carriers = ALL, heartbeatMs, share = true } = this.#options;
    const WebSocket = this.#options.WebSocket ?? (globalThis.WebSocket as WebSocketLike | undefined);
    const canStream = typeof ReadableStream === 'function';
    const memory = this.#options.memory ?? allowed(() => localStorage);
    const open = (listener: FeedListener) =>
      new Connection(
        {
          access: this.#access,
          WebSocket,
          carriers: carriers.filter((carrier) =>
            carrier === 'websocket' ? WebSocket : canStream || carrier.endsWith('poll'),
          ),
          heartbeatMs,
          memory,
        },
        listener,
      );
    const listener: FeedListener = {
      told: (event, cursor) => this.#told(event, cursor),
      state: (state) => this.#tellState(state),
    };
    if (!share || typeof document === 'undefined') return open(listener);
    const shared = shareFeed({
      open,
      listener,
      scope: `${this.#access.url}#${this.#user?.id}`,
      catchUp: (rooms, after) => this.#catchUp(rooms, after),
      BroadcastChannel: globalThis.BroadcastChannel,
      locks: navigator.locks,
      storage: allowed(() => localStorage),
    });
    this.#shared = shared;
    return shared;
  }

  /** What these rooms said after a cursor, by one poll. */
  async #catchUp(rooms: readonly string[], after: string) {
    const asking = {
      access: this.#access,
      WebSocket: undefined,
      rooms,
      after: () => after,
      heartbeatMs: undefined,
    };
    const answer = await pollOnce(asking, 0, false);
    const events = placed(answer).flatMap(({ event, cursor }) =>
      'room' in event ? [{ event, cursor }] : [],
    );
    return { events, cursor: answer.cursor, more: answer.more };
  }

  #told(event: News | undefined, cursor: string | undefined): void {
    if (!this.#progress?.accepts(event, cursor) || !event) return;
    if (event.kind === 'gap') {
      if (event.reason !== 'trimmed') this.#loaded.delete(event.room);
    } else {
      const loaded = this.#loaded.get(event.room);
      if (cursor && loaded && isToldAt(loaded, cursor)) return;
    }
    const held = this.#held.get(event.room);
    if (held) held.push(event);
    else this.#tell(event);
  }

  #tell(event: News): void {
    switch (event.kind) {
      case 'message':
        if (event.clientId && event.user.id === this.#user?.id)
          this.#outbox?.sawMessage(event.clientId, event.id);
        return this.#emit('message', event);
      case 'gap':
        return this.#emit('gap', event);
      case 'presence':
        return this.#emit('presence', event);
      default:
        event satisfies never;
    }
  }

  /** The room's history is loaded: what came meanwhile, and isn't in it, is told. */
  #release(room: string): void {
    const held = this.#held.get(room) ?? [];
    this.#held.delete(room);
    const loaded = this.#loaded.get(room);
    for (const event of held) {
      const isInPage =
        event.kind !== 'gap' && loaded && isToldAt(loaded, `${loaded.split('.', 1)[0]}.${event.id}`);
      if (!isInPage) this.#tell(event);
    }
  }

  #tellState(state: State): void {
    this.#state = state;
    this.#emit('state', state);
    if (state.phase === 'live') this.#outbox?.wake();
    if (state.phase === 'offline' && state.nextTryAt === undefined)
      this.#emit('ended', { reason: state.reason });
  }

  #emit<K extends keyof ClientEvents>(name: K, event: ClientEvents[K]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(event);
      } catch (error) {
        // A listener that throws must not cost the others, or the feed, a word.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  async #openOutbox(user: User): Promise<void> {
    if (this.#outbox) return this.#outbox.resume();
    const storages = {
      indexedDB: allowed(() => indexedDB) as DatabaseFactory | undefined,
      localStorage: allowed(() => localStorage),
    };
    const store = this.#options.outbox ?? (await openStore(storages));
    this.#keptIn = store.kind;
    this.#outbox = openOutbox({
      store,
      user: user.id,
      owner: tabName(),
      send: async ({ room, text, clientId }) => {
        const sent = await this.#ask<{ id: string }>(`/rooms/${room}/messages`, { text, clientId });
        this.#feed?.expect(sent.id);
        return sent;
      },
      onChange: (item) => this.#emit('outbox', item),
    });
    await this.#outbox.refresh();
    this.#adopting = setInterval(() => {
      if (this.#shared?.isLeading ?? true) void this.#outbox?.adopt();
    }, ADOPT_EVERY_MS);
  }
}

/** What a browser may deny already when it is named. */
function allowed<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

/** A name for this tab that a reload keeps. */
function tabName(): string {
  const name = Math.random().toString(36).slice(2);
  return (
    allowed(() => {
      const known = sessionStorage.getItem(TAB_KEY) ?? name;
      sessionStorage.setItem(TAB_KEY, known);
      return known;
    }) ?? name
  );
}
