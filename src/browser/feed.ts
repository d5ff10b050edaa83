import type { ClosedEntry, GapNotice, MessageEntry, PresenceEntry } from '../chat/entries.ts';

/** How bytes reach this client, from the best rung of the ladder to the last. */
export type CarrierName = 'sse' | 'post-stream' | 'websocket' | 'long-poll' | 'short-poll';

/** Why the client isn't on the ladder's first rung; `best` where it is. */
export type Reason =
  | 'best'
  /** Events didn't come through, or not singly, in time. */
  | 'held'
  /** It was proven, and then nothing came any more. */
  | 'mute'
  /** Cut again and again before it was of use. */
  | 'cut'
  /** Something on the way answered in the service's place. */
  | 'refused'
  /** The first rung isn't to be had in this browser, or was switched off. */
  | 'unavailable';

/** Why nothing can be told at the moment. */
export type OfflineReason =
  /** No answer at all. */
  | 'unreachable'
  /** Answers come, but not from the service: a proxy's log-in page or error. */
  | 'blocked'
  /** The service asked for patience (503, 429, `bye`). */
  | 'busy'
  /** Nobody is logged in any more. Final. */
  | 'session_ended'
  /** The service refused for good, such as for a room that there isn't. Final. */
  | 'refused';

/** How it stands with the connection. */
export type State =
  | { readonly phase: 'connecting' }
  /** Connected, and told everything. `latencyMs`: how long the carrier last took to bring something, if that is known. */
  | {
      readonly phase: 'live';
      readonly carrier: CarrierName;
      readonly why: Reason;
      readonly latencyMs: number | undefined;
    }
  /** Connected, and still being told what was missed. */
  | { readonly phase: 'catching-up'; readonly carrier: CarrierName; readonly why: Reason }
  /** `nextTryAt`: milliseconds since 1970; undefined if there will be none. */
  | { readonly phase: 'offline'; readonly reason: OfflineReason; readonly nextTryAt: number | undefined };

/** What a feed tells beside its own affairs. */
export type News = MessageEntry | PresenceEntry | ClosedEntry | GapNotice;

/** Who listens to a feed. */
export interface FeedListener {
  /**
   * The next thing, in order; `cursor` is where one goes on from once it has been told (undefined: nothing new about
   * that). Without an event only the cursor moved. What was told may come again; nothing is left out.
   */
  told(event: News | undefined, cursor: string | undefined): void;
  state(state: State): void;
}

/** News of some rooms, however it gets here: over one connection of its own, or one shared with other tabs. */
export interface Feed {
  /** Follows exactly these rooms from `cursor` on; calling it again changes the rooms. */
  follow(rooms: readonly string[], cursor: string): void;
  /** A post of this client was accepted under this stream id, so it must come by soon. */
  expect(id: string): void;
  /** The network may be back, or the page is shown again: look now. */
  wake(why: 'online' | 'shown'): void;
  /** Whether nobody looks at the page: what only makes things nicer can then wait. */
  rest(isHidden: boolean): void;
  /** Ends it; safe to call twice. Nothing is told afterwards. */
  close(): void;
}

/** Opens a feed. */
export type OpenFeed = (listener: FeedListener) => Feed;
