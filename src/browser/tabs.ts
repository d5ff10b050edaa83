import type { Feed, FeedListener, News, OpenFeed, State } from './feed.ts';
import { type CatchUp, keepUp, type Place } from './keep-up.ts';
import {
  type Candidate,
  type Leadership,
  type LeaseStorage,
  type Locks,
  leadByLease,
  leadByLock,
} from './leadership.ts';
import type { Here, Told, Word } from './tab-words.ts';

/*
 * One connection for all tabs of a browser and user. One tab leads: it runs the feed for the rooms of all, and tells
 * the others over a BroadcastChannel. What it says names the cursor it was said *from*, so a tab knows by itself
 * whether it missed something, and then catches up by a poll of its own. So it matters little who leads, nor whether
 * for a moment two do: what is told may come twice, never with a hole.
 */

/** Why a tab has a connection of its own. */
export type Apart =
  /** This browser has no BroadcastChannel. */
  | 'no-channel'
  /** It has neither Web Locks nor a storage to settle by who leads. */
  | 'no-leader'
  /** It has, and denies their use. */
  | 'denied';

export interface SharedFeedOptions {
  /** Names the service and the user: tabs of one scope share. */
  readonly scope: string;
  readonly listener: FeedListener;
  /** Opens a connection, should this tab come to lead. */
  readonly open: OpenFeed;
  readonly catchUp: CatchUp;
  readonly BroadcastChannel: typeof BroadcastChannel | undefined;
  readonly locks: Locks | undefined;
  /** The storage that all tabs share; needed only where there are no locks. */
  readonly storage: LeaseStorage | undefined;
}

/** A feed over a connection that tabs share. */
export interface SharedFeed extends Feed {
  /** Why this tab has a connection of its own; undefined if it takes part. */
  readonly apart: Apart | undefined;
  /** Whether the connection is this tab's. */
  readonly isLeading: boolean;
  /** The page is put away, perhaps for good: another tab has to lead. Call it on every `pagehide`. */
  leave(): void;
  /** The page is back. Call it on `pageshow`. */
  come(): void;
}

const TICK_MS = 500;
/** Ticks without a word after which a leader counts as gone; two of them are spent asking. */
const SILENT_TICKS = 3;
const TICKS_PER_ROLL_CALL = 10;
/** Tabs that miss the same leader don't all step forward at once. */
const STEP_FORWARD_WITHIN_MS = 300;

/** Takes part in sharing from the first `follow` on. */
export function shareFeed(options: SharedFeedOptions): SharedFeed {
  const { listener, locks, storage } = options;
  const tab = Math.random().toString(36).slice(2);
  // The number changes with what tabs say to one another: tabs of two versions don't share.
  const name = `throughline:1:${options.scope}`;
  let apart: Apart | undefined;
  if (!options.BroadcastChannel) apart = 'no-channel';
  else if (!locks && !storage) apart = 'no-leader';

  const place: Place = {
    rooms: [],
    cursor: '',
    tell(event, to) {
      const mine = event && place.rooms.includes(event.room) ? event : undefined;
      if (to) place.cursor = to;
      if (mine || to) listener.told(mine, to);
    },
  };
  const keeping = keepUp(place, options.catchUp, tellState);
  let state: State = { phase: 'connecting' };
  let shownState = '';
  let isResting = false;
  let life: 'new' | 'on' | 'away' | 'over' = 'new';
  let channel: BroadcastChannel | undefined;

  /** The others, by what they said last, and in answer to which roll call. */
  const others = new Map<string, Here & { rollCall: number }>();
  let feed: Feed | undefined;
  let union: readonly string[] = [];
  let isAllResting = false;
  let rollCall = 0;
  let ticks = 0;

  let leader: string | undefined;
  let silentTicks = 0;
  let hasAskedThisTick = false;

  let ticking: ReturnType<typeof setInterval> | undefined;
  let stepping: ReturnType<typeof setTimeout> | undefined;

  const candidate: Candidate = {
    granted: lead,
    lost: stepDown,
    broken() {
      apart = 'denied';
      disconnect();
      if (!feed) lead();
    },
  };
  let leadership: Leadership | undefined;
  if (!apart && locks) leadership = leadByLock(locks, name, candidate);
  else if (!apart && storage) leadership = leadByLease(storage, name, tab, candidate);

  function say(word: Word): void {
    channel?.postMessage(word);
  }

  function sayHere(): void {
    hasAskedThisTick = true;
    say({ kind: 'here', tab, rooms: place.rooms, isResting });
  }

  function sayTold(event?: News, to = place.cursor, isRollCall = false): void {
    say({ kind: 'told', tab, rooms: union, from: place.cursor, to, event, state, isRollCall });
  }

  function tellState(): void {
    const shown: State =
      keeping.isCatchingUp && state.phase === 'live' ? { ...state, phase: 'catching-up' } : state;
    const json = JSON.stringify(shown);
    if (json === shownState) return;
    shownState = json;
    listener.state(shown);
  }

  function lead(): void {
    keeping.stop();
    silentTicks = 0;
    state = { phase: 'connecting' };
    union = [];
    isAllResting = false;
    feed = options.open({
      told(event, to) {
        sayTold(event, to);
        place.tell(event, to);
      },
      state(now) {
        state = now;
        sayTold();
        tellState();
      },
    });
    gather();
    callRoll();
  }

  function stepDown(): void {
    feed?.close();
    feed = leader = undefined;
    silentTicks = 0;
    keeping.doubt();
    leadership?.seek(false);
    sayHere();
  }

  /** Who hasn't answered the last call is gone. Frozen tabs come again by themselves, and catch up. */
  function callRoll(): void {
    rollCall++;
    sayTold(undefined, place.cursor, true);
  }

  /** Follows the rooms of all tabs, and rests if all do. */
  function gather(isMoved = false): void {
    const here = [...others.values()];
    const wanted = [...new Set(place.rooms.concat(...here.map((other) => other.rooms)))].sort();
    if (isMoved || wanted.join() !== union.join()) {
      union = wanted;
      feed?.follow(union, place.cursor);
    }
    const isAll = isResting && here.every((other) => other.isResting);
    if (isAll !== isAllResting) feed?.rest(isAll);
    isAllResting = isAll;
  }

  function hear(word: Word): void {
    if (word.kind === 'told') hearTold(word);
    else if (word.kind === 'here') {
      others.set(word.tab, { ...word, rollCall });
      if (!feed) return;
      // By another's question, not by a timer: hidden tabs' timers are throttled.
      if (!leadership?.holds()) return stepDown();
      gather();
      sayTold();
    } else if (word.kind === 'bye') {
      // Its rooms are kept until the next roll call: it may be a reload.
      const other = others.get(word.tab);
      if (other) other.rollCall = -1;
      if (feed || word.tab !== leader) return;
      silentTicks = SILENT_TICKS - 1;
      leadership?.seek(false);
    } else if (word.kind === 'expect') feed?.expect(word.id);
    else if (word.kind === 'wake') feed?.wake(word.why);
  }

  function hearTold(word: Told): void {
    if (feed) {
      if (!leadership?.holds()) stepDown();
      return;
    }
    silentTicks = 0;
    if (word.tab !== leader) {
      leader = word.tab;
      keeping.doubt();
    }
    state = word.state;
    const hasMyRooms = place.rooms.every((room) => word.rooms.includes(room));
    // Once a tick at most: two leaders for a moment would else be asked without end.
    if (word.isRollCall || !(hasMyRooms || hasAskedThisTick)) sayHere();
    if (hasMyRooms) keeping.hear(word);
    tellState();
  }

  function tick(): void {
    hasAskedThisTick = false;
    if (feed) {
      if (!leadership?.holds()) return stepDown();
      if (++ticks % TICKS_PER_ROLL_CALL) return;
      for (const [other, { rollCall: answered }] of others) if (answered < rollCall) others.delete(other);
      gather();
      callRoll();
    } else if (silentTicks >= SILENT_TICKS) {
      clearTimeout(stepping);
      stepping = setTimeout(() => {
        if (silentTicks < SILENT_TICKS) return;
        silentTicks = 0;
        leadership?.seek(true);
      }, Math.random() * STEP_FORWARD_WITHIN_MS);
    } else if (silentTicks++) sayHere();
  }

  function begin(): void {
    life = 'on';
    if (apart) return lead();
    try {
      channel = new (options.BroadcastChannel as typeof BroadcastChannel)(name);
    } catch {
      apart = 'denied';
      return lead();
    }
    channel.onmessage = (message: unknown) => hear((message as { data: Word }).data);
    silentTicks = 1;
    keeping.doubt();
    ticking = setInterval(tick, TICK_MS);
    sayHere();
    leadership?.seek(false);
  }

  function disconnect(): void {
    clearInterval(ticking);
    clearTimeout(stepping);
    say({ kind: 'bye', tab });
    leadership?.release();
    channel?.close();
    channel = undefined;
  }

  function end(now: 'away' | 'over'): void {
    if (life === 'over') return;
    life = now;
    keeping.stop();
    disconnect();
    feed?.close();
    feed = leader = undefined;
  }

  return {
    get apart() {
      return apart;
    },
    get isLeading() {
      return feed !== undefined;
    },
    follow(rooms, after) {
      const isMoved = after !== place.cursor;
      place.rooms = rooms;
      place.cursor = after;
      keeping.stop();
      if (life === 'new') begin();
      else if (feed) {
        gather(isMoved);
        sayTold();
      } else {
        keeping.doubt();
        sayHere();
      }
    },
    expect(id) {
      if (feed) feed.expect(id);
      else say({ kind: 'expect', id });
    },
    wake(why) {
      if (feed) return feed.wake(why);
      keeping.doubt();
      say({ kind: 'wake', why });
      sayHere();
    },
    rest(isHidden) {
      isResting = isHidden;
      if (feed) gather();
      else sayHere();
    },
    leave: () => end('away'),
    come() {
      if (life === 'away') begin();
    },
    close: () => end('over'),
  };
}
