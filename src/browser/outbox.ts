import { isShutOut } from './ask.ts';
import type { OutboxStore, StoredPost } from './outbox-store.ts';

/** A post on its way. */
export interface Pending {
  readonly clientId: string;
  readonly room: string;
  readonly text: string;
  /** When it was written, ms since 1970. */
  readonly at: number;
  /** `gone`: no longer in the outbox; discarded, or settled by another tab. */
  readonly status: 'pending' | 'sending' | 'sent' | 'failed' | 'gone';
  /** The stream id under which it was accepted. */
  readonly id?: string;
  /** Why it failed: a refusal's code, or `too_old`. */
  readonly error?: string | undefined;
  /** Whether it survives a reload. */
  readonly isKept: boolean;
}

export interface OutboxOptions {
  readonly store: OutboxStore;
  /** Whose posts these are: the user, among all sites. */
  readonly user: string;
  /** Names this tab, the same after a reload. */
  readonly owner: string;
  /** Posts it; rejects with `Refused`. */
  readonly send: (post: { clientId: string; room: string; text: string }) => Promise<{ id: string }>;
  /** A post was added or has changed. */
  readonly onChange: (post: Pending) => void;
  readonly now?: () => number;
  readonly random?: () => number;
}

/** Posts on their way to the service, of one user. Those of one room are sent one by one, in order. */
export interface Outbox {
  /** Keeps it, then sends it. */
  add(room: string, text: string): Pending;
  /** Tries a failed one again. */
  retry(clientId: string): void;
  discard(clientId: string): void;
  /** What hasn't been sent, oldest first. */
  items(): Pending[];
  /** The message came by under this id: it was sent, whether or not an answer to the post ever comes. */
  sawMessage(clientId: string, id: string): void;
  /** Tries now what waits for its next try. */
  wake(): void;
  /** Nobody, or somebody else, is logged in: sends nothing until `resume`. */
  pause(): void;
  /** The user is logged in again. */
  resume(): void;
  /** Reads again what other tabs have changed. */
  refresh(): Promise<void>;
  /** Takes over what its own tab has left lying. */
  adopt(): Promise<void>;
  close(): void;
}

interface Entry {
  post: StoredPost;
  /** The store has it. */
  isStored: boolean;
  /** It was tried to store it: only then is it sent. */
  isReady: boolean;
}

/** The posts of one room, which wait for one another. */
interface Lane {
  sending?: Entry | undefined;
  failingSince?: number | undefined;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

interface RefusedLike {
  readonly code?: string;
  readonly isPassing?: boolean;
  readonly retryAfterMs?: number | undefined;
}

const HOUR_MS = 3_600_000;
/** The service knows a `clientId` for 24 h; sent after that, a post might be said twice. */
const SENDABLE_MS = 23 * HOUR_MS;
/** Posts of users who don't come back are forgotten after this. */
const KEPT_MS = SENDABLE_MS + 7 * 24 * HOUR_MS;
const ABANDONED_AFTER_MS = 10_000;
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 30_000;

/** Opens the outbox of a user, and sends what an earlier page of this tab left in it. */
export function openOutbox(options: OutboxOptions): Outbox {
  const { store, user, owner, now = Date.now, random = Math.random } = options;
  const entries = new Map<string, Entry>();
  const lanes = new Map<string, Lane>();
  /** What a reading of the store that began earlier may still find there. */
  const settled = new Set<string>();
  let lastAt = 0;
  let isLoaded = false;
  let isPaused = false;
  let isClosed = false;

  const sorted = () => [...entries.values()].sort((a, b) => a.post.at - b.post.at);
  const remove = (clientId: string) => void store.delete(clientId).catch(() => {});
  const isTooOld = ({ post }: Entry) => now() - post.at > SENDABLE_MS;

  function laneOf({ post }: Entry): Lane {
    const lane = lanes.get(post.room) ?? {};
    lanes.set(post.room, lane);
    return lane;
  }

  function shown(entry: Entry): Pending {
    const { clientId, room, text, at, status, error } = entry.post;
    return {
      clientId,
      room,
      text,
      at,
      status: laneOf(entry).sending === entry ? 'sending' : status,
      error,
      isKept: store.kind !== 'memory' && (entry.isStored || !entry.isReady),
    };
  }

  function tell(entry: Entry, more?: Partial<Pending>): void {
    if (!isClosed) options.onChange(Object.assign(shown(entry), more));
  }

  /** Keeps a post as it is now. One that can't be kept is sent all the same, as long as this page lives. */
  async function keep(entry: Entry, changes?: Partial<StoredPost>): Promise<void> {
    entry.post = { ...entry.post, ...changes };
    const { clientId } = entry.post;
    try {
      await store.put(entry.post);
      entry.isStored = true;
      // Settled while it was being stored.
      if (settled.has(clientId)) remove(clientId);
    } catch {
      if (!entry.isStored && !entry.isReady) {
        entry.isReady = true;
        if (entries.has(clientId)) tell(entry);
      }
    }
    entry.isReady = true;
  }

  function change(entry: Entry, changes: Partial<StoredPost>): void {
    void keep(entry, { ...changes, touchedAt: now() });
    tell(entry);
  }

  function settle(entry: Entry, outcome: Partial<Pending>): void {
    const { clientId } = entry.post;
    const lane = laneOf(entry);
    if (lane.sending === entry) lane.sending = undefined;
    entries.delete(clientId);
    settled.add(clientId);
    remove(clientId);
    tell(entry, outcome);
    sendAll();
  }

  function sendAll(): void {
    if (isLoaded && !isPaused && !isClosed) for (const lane of new Set(sorted().map(laneOf))) sendNext(lane);
  }

  function sendNext(lane: Lane): void {
    for (const entry of sorted()) {
      if (lane.sending || lane.timer) return;
      const { owner: sender, status } = entry.post;
      if (laneOf(entry) !== lane || sender !== owner || status !== 'pending') continue;
      if (!entry.isReady) return;
      if (isTooOld(entry)) change(entry, { status: 'failed', error: 'too_old' });
      else void send(entry, lane);
    }
  }

  async function send(entry: Entry, lane: Lane): Promise<void> {
    const { clientId, room, text } = entry.post;
    lane.sending = entry;
    change(entry, {});
    try {
      const { id } = await options.send({ clientId, room, text });
      lane.failingSince = undefined;
      if (lane.sending === entry) settle(entry, { status: 'sent', id });
    } catch (error) {
      if (isClosed || lane.sending !== entry) return;
      lane.sending = undefined;
      refused(entry, lane, error as RefusedLike);
      sendAll();
    }
  }

  function refused(entry: Entry, lane: Lane, { code = '', isPassing, retryAfterMs = 0 }: RefusedLike): void {
    if (isShutOut(code) || code === 'other_user') isPaused = true;
    else if (isPassing === false) return change(entry, { status: 'failed', error: code });
    else {
      lane.failingSince ??= now();
      // At most half as long as it has been going on, as the ladder does it.
      const pauseMs =
        random() * Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, (now() - lane.failingSince) / 2));
      lane.timer = setTimeout(() => void goOn([lane]), retryAfterMs + pauseMs);
    }
    tell(entry);
  }

  /** Sends what waits, unless another tab has settled it. */
  async function goOn(these: Iterable<Lane>): Promise<void> {
    await refresh().catch(() => {});
    for (const lane of these) {
      clearTimeout(lane.timer);
      lane.timer = undefined;
    }
    sendAll();
  }

  async function refresh(): Promise<void> {
    const known = sorted().filter((entry) => entry.isStored);
    const found = new Set<string>();
    for (const post of await store.all()) {
      const { clientId } = post;
      const entry = entries.get(clientId);
      found.add(clientId);
      if (isClosed) return;
      if (settled.has(clientId)) remove(clientId);
      else if (post.user !== user) {
        if (now() - post.at > KEPT_MS) remove(clientId);
      } else if (!entry) {
        const read = { post, isStored: true, isReady: true };
        entries.set(clientId, read);
        tell(read);
      } else if (post.touchedAt > entry.post.touchedAt) {
        entry.post = post;
        tell(entry);
      }
    }
    for (const entry of known) {
      const { clientId } = entry.post;
      if (found.has(clientId) || laneOf(entry).sending === entry || !entries.delete(clientId)) continue;
      tell(entry, { status: 'gone' });
    }
    isLoaded = true;
    sendAll();
  }

  function add(room: string, text: string): Pending {
    // Of two within a millisecond the first stays first.
    lastAt = Math.max(now(), lastAt + 1);
    const entry: Entry = {
      post: {
        clientId: newClientId(),
        user,
        owner,
        room,
        text,
        at: lastAt,
        touchedAt: lastAt,
        status: 'pending',
      },
      isStored: false,
      isReady: false,
    };
    entries.set(entry.post.clientId, entry);
    void keep(entry).then(sendAll);
    tell(entry);
    return shown(entry);
  }

  void refresh().catch(() => {
    isLoaded = true;
    sendAll();
  });

  return {
    add,
    refresh,
    items: () => sorted().map(shown),
    wake: () => void goOn(lanes.values()),
    retry(clientId) {
      const entry = entries.get(clientId);
      if (entry?.post.status !== 'failed') return;
      const { error, room, text } = entry.post;
      // The service may have forgotten the old clientId, or holds it to mean something else.
      if (isTooOld(entry) || error === 'client_id_reused') {
        settle(entry, { status: 'gone' });
        add(room, text);
      } else {
        change(entry, { status: 'pending', error: undefined, owner });
        sendAll();
      }
    },
    discard(clientId) {
      const entry = entries.get(clientId);
      if (entry) settle(entry, { status: 'gone' });
    },
    sawMessage(clientId, id) {
      const entry = entries.get(clientId);
      if (entry) settle(entry, { status: 'sent', id });
    },
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
      sendAll();
    },
    async adopt() {
      await refresh();
      const lanesOf = ({ post }: Entry) => `${post.owner} ${post.room}`;
      const isWaiting = ({ post }: Entry) => post.owner !== owner && post.status === 'pending';
      const isAbandoned = ({ post }: Entry) => now() - post.touchedAt > ABANDONED_AFTER_MS;
      // All of a tab's posts to a room or none, or else a later one might be sent first.
      const abandoned = sorted()
        .filter((entry) => isWaiting(entry) && isAbandoned(entry))
        .map(lanesOf);
      for (const entry of sorted())
        if (isWaiting(entry) && abandoned.includes(lanesOf(entry))) change(entry, { owner });
      sendAll();
    },
    close() {
      isClosed = true;
      for (const { timer } of lanes.values()) clearTimeout(timer);
    },
  };
}

function newClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
