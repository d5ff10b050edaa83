import type { GapNotice, MessageEntry } from '../../chat/entries.ts';
import type { User } from '../../chat/users.ts';
import { isShutOut } from '../ask.ts';
import type { Page, RoomView, ThroughlineClient } from '../client.ts';
import type { State } from '../feed.ts';
import type { Pending } from '../outbox.ts';
import type { openAlerts } from './alerts.ts';
import { insist } from './insist.ts';
import { mend } from './mend.ts';
import { openReadMarks, type ReadMarks } from './read-marks.ts';
import { codeOf } from './refusals.ts';
import { alter, type HeldRoom, heldRoom, isMine, LOBBY, toFollow } from './rooms.ts';
import type { Memory } from './storage.ts';
import { merge, takePage, trim } from './timeline.ts';

/** What the page shows may have changed in these places. */
export type Change = 'opened' | 'older' | 'news' | 'rooms' | 'people' | 'outbox';

/** What the chat needs of whoever shows it. */
export interface ChatHost {
  /** Whether the newest lines of the open room are before somebody's eyes. */
  isWatching(): boolean;
  changed(what: Change): void;
  state(state: State): void;
  entered(user: User): void;
  /** Nobody is logged in. `isEnded`: somebody was, and not by their own wish. */
  left(isEnded: boolean): void;
  failed(error: unknown): void;
}

const OLDER_LIMIT = 50;
const MOST_KEPT = 600;
const TRIM_TO = 400;
const STALE_PEOPLE_MS = 10_000;
/** What is refused again within this won't be let in by asking once more. */
const FLAP_MS = 10_000;

/** Who is logged in, which rooms there are and what is in them. Knows nothing of elements. */
export class Chat {
  me: User | undefined;
  room = LOBBY;
  /** The open room was asked for and isn't there. */
  isMissing = false;
  /** Whether what is written now would go out, or wait to. */
  isReady = false;
  readonly rooms = new Map<string, HeldRoom>();
  readonly outbox = new Map<string, Pending>();
  marks: ReadMarks | undefined;
  client: ThroughlineClient;
  readonly #makeClient: () => ThroughlineClient;
  readonly #memory: Memory;
  readonly #alerts: Pick<ReturnType<typeof openAlerts>, 'tell'>;
  readonly host: ChatHost;
  #notLiveSince = Date.now();
  #refusedAt = 0;
  hurry: () => void = () => {};

  constructor(
    makeClient: () => ThroughlineClient,
    memory: Memory,
    alerts: Pick<ReturnType<typeof openAlerts>, 'tell'>,
    host: ChatHost,
  ) {
    this.#makeClient = makeClient;
    this.#memory = memory;
    this.#alerts = alerts;
    this.host = host;
    this.client = this.#newClient();
  }

  /** A client serves one session: the next one needs another. */
  #newClient(): ThroughlineClient {
    const client = this.#makeClient();
    client.on('message', (message) => this.#hear(message));
    client.on('gap', (gap) => void this.#mend(gap));
    client.on('presence', (entry) => {
      const held = this.rooms.get(entry.room);
      if (held) held.roster.apply(entry);
      if (entry.room === this.room) this.host.changed('people');
    });
    client.on('closed', ({ room }) => {
      const held = this.rooms.get(room);
      if (held) alter(held, { closed: true });
      this.host.changed('rooms');
    });
    client.on('state', (state) => this.#heed(state));
    client.on('outbox', (item) => {
      if (item.status === 'gone') this.outbox.delete(item.clientId);
      else this.outbox.set(item.clientId, item);
      this.host.changed('outbox');
    });
    client.on('ended', ({ reason }) => {
      if (reason === 'session_ended') this.leave(true);
      else this.#lookAround();
    });
    return client;
  }

  /** The open room, once something is known of it. */
  get open(): HeldRoom | undefined {
    return this.isMissing ? undefined : this.rooms.get(this.room);
  }

  unreadOf({ view }: HeldRoom): number {
    return this.marks ? this.marks.unread(view.room, view.n) : 0;
  }

  /** Unread messages of all rooms that concern this user. */
  unreadInAll(): number {
    let sum = 0;
    this.rooms.forEach((held) => {
      if (isMine(held.view) || held.view.room === this.room) sum += this.unreadOf(held);
    });
    return sum;
  }

  /** Finds out who is logged in, if anybody, for as long as that takes. */
  async start(): Promise<void> {
    const user = await this.#insist(() => this.client.whoAmI());
    if (user) await this.enter(user);
    else this.host.left(false);
  }

  async enter(user: User): Promise<void> {
    this.me = user;
    this.marks = openReadMarks(this.#memory, user.id);
    this.host.entered(user);
    try {
      const pages = await this.#insist(async () => {
        await this.listRooms();
        const views = Array.from(this.rooms.values(), ({ view }) => view);
        return this.client.connect(toFollow(views, this.room));
      }, user);
      if (this.me !== user) return;
      this.isReady = true;
      for (const item of this.client.pending()) this.outbox.set(item.clientId, item);
      pages.forEach((page, room) => {
        this.#take(room, page);
      });
      this.show(this.room);
    } catch (error) {
      // A log-out meanwhile is told by `ended`; what remains is a refusal for good.
      if (isShutOut(codeOf(error))) this.leave(true);
      else if (this.me === user) this.host.failed(error);
    }
  }

  async logOut(): Promise<void> {
    try {
      await this.client.logOut();
    } catch (error) {
      if (!isShutOut(codeOf(error))) return this.host.failed(error);
    }
    this.leave(false);
  }

  /** Look again now. */
  wake(): void {
    this.hurry();
    this.client.wake('online');
  }

  /** Nobody is logged in any more. */
  leave(isEnded: boolean): void {
    if (!this.me) return;
    this.me = this.marks = undefined;
    this.#startOver();
    this.host.left(isEnded);
  }

  #startOver(): void {
    this.isReady = false;
    this.rooms.clear();
    this.outbox.clear();
    this.client.close();
    this.client = this.#newClient();
  }

  /** A room that was followed may be open to this user no longer: the others go on. */
  #lookAround(): void {
    const { me } = this;
    if (!me || Date.now() - this.#refusedAt < FLAP_MS) return;
    this.#refusedAt = Date.now();
    this.#startOver();
    void this.enter(me);
  }

  /** Asks for the list of rooms anew. */
  async listRooms(): Promise<void> {
    const views = await this.client.rooms();
    if (!this.marks) return;
    this.marks.meet(views);
    const names = new Set(views.map(({ room }) => room));
    for (const view of views) this.#know(view);
    this.rooms.forEach((_, room) => {
      if (!names.has(room)) this.rooms.delete(room);
    });
    this.host.changed('rooms');
  }

  /** Opens a room: what is held of it at once, the rest when it gets here. */
  show(room: string): void {
    const previous = this.open;
    if (previous && this.room !== room && !isMine(previous.view)) {
      this.client.unfollow(previous.view.room);
      this.rooms.set(previous.view.room, heldRoom(previous.view));
    }
    this.room = room;
    const held = this.rooms.get(room);
    this.isMissing = !held;
    if (held) {
      held.readUpTo = this.unreadOf(held) > 0 && this.marks ? this.marks.of(room) : undefined;
      if (!held.isFollowed) void this.#follow(room);
      void this.askWhoIsHere();
    } else void this.#lookFor(room);
    this.host.changed('opened');
    this.host.changed('rooms');
  }

  async setMembership(isMember: boolean): Promise<void> {
    const { room } = this;
    if (isMember) this.#take(room, await this.client.join(room));
    else await this.client.leave(room);
    const held = this.rooms.get(room);
    if (held) {
      alter(held, { isMember });
      // What is said from now on isn't told: what is held would have a hole at its end.
      if (!isMember) this.rooms.set(room, heldRoom(held.view));
    }
    this.host.changed('rooms');
    if (!isMember && this.room === room) this.show(LOBBY);
  }

  async createRoom(room: string, title: string): Promise<void> {
    this.#know(await this.client.createRoom(room, title));
  }

  say(text: string): void {
    const held = this.open;
    if (!held || !this.isReady) return;
    held.readUpTo = undefined;
    const item = this.client.post(this.room, text);
    this.outbox.set(item.clientId, item);
    this.host.changed('outbox');
    this.host.changed('news');
  }

  discard(clientId: string): void {
    this.client.discard(clientId);
    this.outbox.delete(clientId);
    this.host.changed('outbox');
  }

  /** What was written here and hasn't come by on the feed yet. */
  onTheirWay(): Pending[] {
    return Array.from(this.outbox.values()).filter(({ room }) => room === this.room);
  }

  /** What is before somebody's eyes counts as read. */
  noteRead(): void {
    const held = this.open;
    if (!held || !this.marks || !held.isFollowed || !this.host.isWatching()) return;
    if (this.unreadOf(held) === 0) return;
    this.marks.read(this.room, held.view.n);
    this.host.changed('rooms');
  }

  async loadOlder(): Promise<void> {
    const held = this.open;
    if (!held?.isFollowed || held.isLoadingOlder || !held.timeline.hasMore) return;
    const [oldest] = held.timeline.messages;
    held.isLoadingOlder = true;
    this.host.changed('older');
    try {
      const page = await this.client.history(
        held.view.room,
        oldest ? { before: oldest.id, limit: OLDER_LIMIT } : {},
      );
      // Trimmed meanwhile, there would be a hole between the page and what is held.
      if (held.timeline.messages[0] === oldest) takePage(held.timeline, page);
      held.hasFailed = false;
    } catch {
      held.hasFailed = true;
    }
    held.isLoadingOlder = false;
    if (held === this.open) this.host.changed('older');
  }

  /** Asks who is here; what comes and goes afterwards is told. */
  async askWhoIsHere(): Promise<void> {
    const held = this.open;
    if (!held) return;
    try {
      held.roster.load(await this.client.people(held.view.room));
    } catch {
      // It stays as it was; the next time the feed is live it is asked again.
    }
    if (held === this.open) this.host.changed('people');
  }

  /** A room that isn't in the list may be newer than the list. */
  async #lookFor(room: string): Promise<void> {
    await this.listRooms().catch(() => {});
    if (this.room === room && this.rooms.has(room)) this.show(room);
  }

  async #follow(room: string): Promise<void> {
    try {
      const page = await this.#insist(() => this.client.follow(room), this.me);
      const held = this.rooms.get(room);
      // Left again before it was there: it isn't followed any more.
      if (this.room !== room && held && !isMine(held.view)) return this.client.unfollow(room);
      this.#take(room, page);
      if (this.room === room) this.show(room);
    } catch (error) {
      if (!/^room_(not_found|forbidden)$/.test(String(codeOf(error)))) return this.host.failed(error);
      this.rooms.delete(room);
      if (this.room === room) this.show(room);
    }
  }

  #take(room: string, page: Page): void {
    const held = this.rooms.get(room);
    if (!held) return;
    takePage(held.timeline, page);
    for (const { clientId } of page.events) if (clientId) this.outbox.delete(clientId);
    held.isFollowed = true;
    this.#count(held);
  }

  #know(view: RoomView): void {
    const held = this.rooms.get(view.room);
    if (!held) this.rooms.set(view.room, heldRoom(view));
    // What was told live may be newer than the list.
    else held.view = Object.assign({}, view, held.isFollowed && { n: Math.max(view.n, held.view.n) });
  }

  /** A room's count moves on with what is held of it. */
  #count(held: HeldRoom): void {
    const { messages } = held.timeline;
    const newest = messages[messages.length - 1];
    if (newest && newest.n > held.view.n) alter(held, { n: newest.n });
  }

  #hear(message: MessageEntry): void {
    const held = this.rooms.get(message.room);
    if (!held || !this.marks || !this.me) return;
    const isNew = merge(held.timeline, [message]).length > 0;
    const isOwn = message.user.id === this.me.id;
    if (message.clientId && isOwn && this.outbox.delete(message.clientId)) this.host.changed('outbox');
    if (!isNew) return;
    const isOpen = held === this.open;
    const isSeen = isOpen && this.host.isWatching();
    if (!isSeen && !isOwn && this.marks.unread(message.room, message.n - 1) === 0)
      held.readUpTo = this.marks.of(message.room);
    this.#count(held);
    if (isSeen || (isOwn && this.marks.unread(message.room, message.n) === 1))
      this.marks.read(message.room, message.n);
    if (!isOpen || isSeen) {
      if (held.timeline.messages.length > MOST_KEPT) trim(held.timeline, TRIM_TO);
    }
    if (isOpen) this.host.changed('news');
    this.host.changed('rooms');
    if (!isOwn && !isSeen) this.#tell(message, held);
  }

  #tell(message: MessageEntry, held: HeldRoom): void {
    const isSeen = () => {
      if (!this.marks) return true;
      this.marks.refresh();
      return this.marks.of(message.room) >= message.n;
    };
    this.#alerts.tell(message, held.view.title, isSeen, () => this.show(message.room));
  }

  #heed(state: State): void {
    if (state.phase !== 'live') this.#notLiveSince = this.#notLiveSince || Date.now();
    else if (this.#notLiveSince) {
      const isStale = Date.now() - this.#notLiveSince > STALE_PEOPLE_MS;
      this.#notLiveSince = 0;
      if (isStale && this.me) {
        void this.askWhoIsHere();
        void this.listRooms().catch(() => {});
      }
    }
    this.host.state(state);
  }

  async #mend({ room, reason }: GapNotice): Promise<void> {
    const held = this.rooms.get(room);
    if (!held?.isFollowed) return;
    const { me } = this;
    try {
      await mend(held.timeline, reason, (before) =>
        this.#insist(() => this.client.history(room, before ? { before } : {}), me),
      );
    } catch (error) {
      if (this.me === me) this.host.failed(error);
    }
    if (this.rooms.get(room) !== held || !this.marks) return;
    if (reason === 'trimmed') this.#count(held);
    else {
      const newest = held.timeline.messages[held.timeline.messages.length - 1];
      alter(held, { n: newest ? newest.n : 0 });
      this.marks.rewind(room, held.view.n);
    }
    if (held === this.open) this.host.changed('news');
    this.host.changed('rooms');
  }

  #insist<T>(ask: () => Promise<T>, asker?: User): Promise<T> {
    return insist(ask, {
      isWanted: () => asker === this.me,
      tell: (state) => this.host.state(state),
      onWait: (hurry) => {
        this.hurry = hurry;
      },
    });
  }
}
