import type { ClosedEntry, GapNotice, MessageEntry, PresenceEntry } from '../chat/entries.ts';
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
  /** It can only be read. */
  readonly closed?: true;
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
  /** The site whose chat it is; default: `main`. */
  readonly site?: string;
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
  /** From now on the room can only be read. */
  closed: ClosedEntry;
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
  #outboxOf: string | undefined;
  #keptIn: OutboxStore['kind'] | undefined;
  #adopting: ReturnType<typeof setInterval> | undefined;
  readonly #stopListening: () => void;
  readonly #interrupts = new Set<() => void>();
  #adding: Promise<unknown> = Promise.resolve();
  #hasEnded = false;
  #isHidden = false;
  #isSuspended = false;
  #isClosed = false;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    const fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    const { url = '', site = 'main' } = options;
    this.#access = { url, fetch, site: site === 'main' ? '' : `site=${site}&` };
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
    this.#become(user);
    return user;
  }

  /** Who is logged in here. */
  async whoAmI(): Promise<User | undefined> {
    const { user } = await this.#ask<{ user: User | null }>('/session');
    this.#become(user ?? undefined);
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
    return this.#ask(`${roomPath(room)}/messages?${new URLSearchParams(given as [string, string][])}`);
  }

  people(room: string): Promise<People> {
    return this.#ask(`${roomPath(room)}/people`);
  }

  /**
   * Follows rooms: resolves with the latest page of each, and from then on tells everything after it, once and in
   * order. Waits out what will pass. Rejects with `Refused` otherwise (`no_session`, `room_not_found`, `closed`).
   */
  async connect(rooms: readonly string[] = []): Promise<Map<string, Page>> {
    const known = this.#hasEnded ? undefined : this.#user;
    const user = known ?? (await this.#insist(() => this.whoAmI()));
    if (!user) throw new Refused('no_session', 'Not logged in.');
    this.#hasEnded = false;
    await this.#openOutbox(user);
    if (this.#progress && !this.#feed) this.#start(this.#progress.cursor);
    const { cursor } = this.#options;
    if (cursor !== undefined && !this.#progress) {
      for (const room of rooms) this.#rooms.add(room);
      this.#start(cursor);
      return new Map();
    }
    return this.#add(async () => {
      if (this.#rooms.size > 0) {
        const pages = new Map<string, Page>();
        for (const room of rooms) pages.set(room, await this.#follow(room));
        return pages;
      }
      const pages = await Promise.all(
        rooms.map(async (room) => [room, await this.#insist(() => this.history(room))] as const),
      );
      this.#begin(pages);
      return new Map(pages);
    });
  }

  /** Becomes a member of a room and follows it. */
  async join(room: string): Promise<Page> {
    await this.#ask(`${roomPath(room)}/join`, {});
    return this.follow(room);
  }

  /** Ends the membership, and no longer follows. */
  async leave(room: string): Promise<void> {
    await this.#ask(`${roomPath(room)}/leave`, {});
    this.unfollow(room);
  }

  /** Follows one more room: its latest page, and from then on everything after it. */
  follow(room: string): Promise<Page> {
    return this.#add(() => this.#follow(room));
  }

  /** The latest page of a room that is followed; after a `gap`, say. What is told from then on isn't in it. */
  async reload(room: string): Promise<Page> {
    const held = this.#held.get(room) ?? [];
    this.#held.set(room, held);
    try {
      const page = await this.#insist(() => this.history(room));
      this.#loaded.set(room, page.cursor);
      return page;
    } finally {
      // Only once whoever asked has the page.
      setTimeout(() => this.#release(room, held));
    }
  }

  unfollow(room: string): void {
    if (!this.#rooms.delete(room)) return;
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
    for (const interrupt of this.#interrupts) interrupt();
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
    if (this.#shared) this.#shared.leave();
    else this.#letGo();
  }

  /** Goes on from where it was suspended. */
  resume(): void {
    this.#isSuspended = false;
    this.#shared?.come();
    if (this.#progress) this.#start(this.#progress.cursor);
    this.#outbox?.wake();
  }

  /** Ends everything; what is in the outbox stays there for the next client. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const interrupt of this.#interrupts) interrupt();
    this.#stopListening();
    clearInterval(this.#adopting);
    this.#letGo();
    this.#outbox?.close();
  }

  #letGo(): void {
    this.#feed?.close();
    this.#feed = this.#shared = undefined;
  }

  #ask<T>(path: string, body?: object): Promise<T> {
    return ask(this.#access, path, { body });
  }

  /** Another user has another connection, another outbox, and stands nowhere yet. */
  #become(user: User | undefined): void {
    if (this.#user && user?.id !== this.#user.id) {
      this.#letGo();
      this.#progress = undefined;
      this.#rooms.clear();
      this.#loaded.clear();
      this.#held.clear();
      this.#outbox?.close();
      this.#outbox = this.#outboxOf = undefined;
      clearInterval(this.#adopting);
    }
    this.#user = user;
  }

  /** Asks until there is an answer or a refusal for good. */
  async #insist<T>(question: () => Promise<T>): Promise<T> {
    for (let tries = 0; !this.#isClosed; tries++) {
      try {
        const answer = await question();
        if (this.#isClosed) break;
        return answer;
      } catch (error) {
        if (!(error instanceof Refused && error.isPassing)) throw error;
        if (this.#isClosed) break;
        const waitMs =
          (error.retryAfterMs ?? 0) + Math.random() * Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** tries);
        const { code } = error;
        const reason = code === 'unreachable' || code === 'blocked' ? code : 'busy';
        if (!this.#feed) this.#tellState({ phase: 'offline', reason, nextTryAt: Date.now() + waitMs });
        await new Promise<void>((resolve) => {
          const go = () => {
            clearTimeout(timer);
            this.#interrupts.delete(go);
            resolve();
          };
          const timer = setTimeout(go, waitMs);
          this.#interrupts.add(go);
        });
      }
    }
    throw new Refused('closed', 'Closed');
  }

  /** Rooms are added one after the other, so that each begins where the others stand by then. */
  #add<T>(act: () => Promise<T>): Promise<T> {
    const added = this.#adding.then(act);
    this.#adding = added.catch(() => {});
    return added;
  }

  async #follow(room: string): Promise<Page> {
    if (this.#rooms.has(room)) return this.reload(room);
    const page = await this.#insist(() => this.history(room));
    if (this.#progress && this.#rooms.size > 0) {
      // The room is there. It is registered now and then read again, so that nothing passes between the two.
      this.#rooms.add(room);
      this.#held.set(room, []);
      this.#start(this.#progress.cursor);
      return this.reload(room);
    }
    this.#begin([[room, page]]);
    return page;
  }

  /** Begins to follow rooms, having followed none, where the earliest of their pages ends. */
  #begin(pages: readonly (readonly [string, Page])[]): void {
    for (const [room, { cursor }] of pages) {
      this.#rooms.add(room);
      this.#loaded.set(room, cursor);
    }
    this.#progress = undefined;
    if (pages.length > 0) this.#start(pages.map(([, { cursor }]) => cursor).reduce(earlierCursor));
  }

  /** Follows the rooms from a cursor, whatever was followed before. */
  #start(cursor: string): void {
    this.#progress ??= new Progress(cursor);
    if (this.#isClosed || this.#isSuspended) return;
    if (this.#rooms.size === 0) return this.#letGo();
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
      scope: `${this.#access.url}#${this.#access.site}${this.#user?.id}`,
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
      rooms,
      after: () => after,
    };
    const answer = await pollOnce(asking, 0, false);
    const events = placed(answer).filter((one): one is typeof one & { event: News } => 'room' in one.event);
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
      case 'closed':
        return this.#emit('closed', event);
      default:
        event satisfies never;
    }
  }

  /** The room's history is loaded: what came meanwhile, and isn't in it, is told. */
  #release(room: string, held: News[]): void {
    if (this.#held.get(room) !== held) return;
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
    if (state.phase === 'offline' && state.nextTryAt === undefined) {
      this.#outbox?.pause();
      this.#letGo();
      this.#hasEnded = true;
      this.#emit('ended', { reason: state.reason });
    }
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
    if (this.#outboxOf === user.id) return this.#outbox?.resume();
    this.#outbox?.close();
    this.#outboxOf = user.id;
    const storages = {
      indexedDB: allowed(() => indexedDB) as DatabaseFactory | undefined,
      localStorage: allowed(() => localStorage),
    };
    const store = this.#options.outbox ?? (await openStore(storages));
    if (this.#isClosed || this.#outboxOf !== user.id) return;
    this.#keptIn = store.kind;
    this.#outbox = openOutbox({
      store,
      user: this.#access.site + user.id,
      owner: tabName(),
      send: async ({ room, text, clientId }) => {
        // Whoever is logged in by now must be who wrote it.
        const body = { text, clientId, user: user.id };
        const sent = await this.#ask<{ id: string }>(`${roomPath(room)}/messages`, body);
        if (this.#rooms.has(room)) this.#feed?.expect(sent.id);
        return sent;
      },
      onChange: (item) => this.#emit('outbox', item),
    });
    clearInterval(this.#adopting);
    this.#adopting = setInterval(() => {
      if (this.#shared?.isLeading ?? true) this.#outbox?.adopt().catch(() => {});
    }, ADOPT_EVERY_MS);
    // What can't be read is no reason not to write.
    await this.#outbox.refresh().catch(() => {});
  }
}

function roomPath(room: string): string {
  return `/rooms/${encodeURIComponent(room)}`;
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
