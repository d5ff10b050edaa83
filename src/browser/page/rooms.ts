import type { RoomView } from '../client.ts';
import { openRoster, type Roster } from './roster.ts';
import { emptyTimeline, type Timeline } from './timeline.ts';

/** A room as this page holds it. */
export interface HeldRoom {
  view: RoomView;
  readonly timeline: Timeline;
  readonly roster: Roster;
  /** Whether its newest page was loaded and its news is being told. */
  isFollowed: boolean;
  isLoadingOlder: boolean;
  /** Whether the last try to load older messages failed. */
  hasFailed: boolean;
  /** Where the unread divider stands: after the message of this number. */
  readUpTo: number | undefined;
}

/** A room nothing of which was loaded yet. */
export const heldRoom = (view: RoomView): HeldRoom => ({
  view,
  timeline: emptyTimeline(),
  roster: openRoster(),
  isFollowed: false,
  isLoadingOlder: false,
  hasFailed: false,
  readUpTo: undefined,
});

/** Notes what has changed about a room. */
export function alter(held: HeldRoom, change: Partial<RoomView>): void {
  held.view = Object.assign({}, held.view, change);
}

/** The room that is always there. */
export const LOBBY = 'lobby';

const MOST_FOLLOWED = 40;

/** Whether news of a room concerns this user: the lobby's, and that of rooms joined. */
export const isMine = ({ room, isMember }: RoomView) => isMember || room === LOBBY;

/** The rooms to follow from the start: the open one first, then one's own as far as one connection tells so many. */
export function toFollow(views: readonly RoomView[], open: string): string[] {
  const known = views.filter((view) => view.room === open || isMine(view)).map(({ room }) => room);
  return known.sort((a, b) => Number(b === open) - Number(a === open)).slice(0, MOST_FOLLOWED);
}

/** The room that a page's path names; the lobby at the root. */
export function roomOfPath(path: string): string {
  const [, name] = /\/rooms\/([^/]+)\/?$/.exec(path) ?? [];
  if (name === undefined) return LOBBY;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
