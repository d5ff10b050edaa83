import { isToldAt } from './cursors.ts';
import type { News } from './feed.ts';
import type { Told } from './tab-words.ts';

/** What a short poll brings. */
export interface Missed {
  readonly events: readonly { readonly event: News; readonly cursor?: string | undefined }[];
  readonly cursor: string;
  readonly more: boolean;
}

/** Asks once for what these rooms have after a cursor. */
export type CatchUp = (rooms: readonly string[], after: string) => Promise<Missed>;

/** Where a tab stands: the rooms it follows, and the cursor up to which it was told of them. */
export interface Place {
  rooms: readonly string[];
  cursor: string;
  /** Tells the tab, and moves the cursor. */
  tell(event: News | undefined, to: string | undefined): void;
}

/** Keeps a tab level with what its leader says. */
export interface KeepingUp {
  readonly isCatchingUp: boolean;
  /** Takes what was said of the tab's rooms; catches up first if something before it is missing. */
  hear(told: Told): void;
  /** Another leader, other rooms, or a long absence: where the tab stands has to be looked at anew. */
  doubt(): void;
  stop(): void;
}

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
const MAX_HELD = 500;

/** Keeps a place level; `onLevel` is called when catching up has succeeded. */
export function keepUp(place: Place, catchUp: CatchUp, onLevel: () => void): KeepingUp {
  /** Whether a cursor ahead of the leader's is known to be of this history, and not of one rolled back since. */
  let isVerified = false;
  /** What was told while this tab catches up; undefined while it is level. */
  let held: Told[] | undefined;
  let turn = 0;
  let pausing: ReturnType<typeof setTimeout> | undefined;

  /** Takes what was told, or what is new of it; false if something before it is missing here. */
  function take({ from, to, event }: Told): boolean {
    if (!isToldAt(place.cursor, from) || !(isVerified || isToldAt(from, place.cursor))) return false;
    isVerified = true;
    // A rolled-back history goes on at an earlier cursor, or under another epoch.
    const isKnown = isToldAt(to, from) && isToldAt(place.cursor, to);
    if (!isKnown) place.tell(event, to);
    else if (to === from) place.tell(event, undefined);
    return true;
  }

  function run(attempt: number): void {
    const mine = ++turn;
    const isCurrent = () => mine === turn;
    const ask = async () => {
      const page = await catchUp(place.rooms, place.cursor);
      for (const { event, cursor: to } of page.events) if (isCurrent()) place.tell(event, to);
      if (isCurrent()) place.tell(undefined, page.cursor);
      if (!isCurrent()) return;
      if (page.more) return run(0);
      isVerified = true;
      const words = held ?? [];
      held = [];
      let isLevel = false;
      for (const word of words) {
        if (!isCurrent()) return;
        isLevel = take(word);
        // Taken once only: one that leads back would else lead back for ever.
        if (!isLevel) held.push(word);
      }
      if (!isCurrent()) return;
      if (!isLevel) throw new Error('the process that was asked is behind');
      stop();
      onLevel();
    };
    ask().catch(() => {
      if (!isCurrent()) return;
      const ms = (0.5 + Math.random() / 2) * Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
      pausing = setTimeout(run, ms, attempt + 1);
    });
  }

  function stop(): void {
    turn++;
    clearTimeout(pausing);
    held = undefined;
  }

  return {
    get isCatchingUp() {
      return held !== undefined;
    },
    hear(told) {
      // What can be taken proves that nothing before it is missing, however far catching up has got.
      if (take(told)) stop();
      else if (!held) {
        held = [told];
        run(0);
      } else {
        held.push(told);
        if (held.length > MAX_HELD) held.shift();
      }
    },
    doubt() {
      isVerified = false;
    },
    stop,
  };
}
