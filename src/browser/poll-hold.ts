/** How polls are to be held, as learnt so far. A value; `afterPoll` makes the next one. */
export interface Hold {
  /** For how long the service holds an answer back, in ms; 0 asks what there is. */
  readonly holdMs: number;
  /** Longer than this isn't tried. */
  readonly ceilingMs: number;
  /** Nor this, whatever is learnt. */
  readonly longestMs: number;
  /** Blanks are to come before the answer, for what cuts connections that are idle. */
  readonly isDripping: boolean;
  /** No hold gets through. */
  readonly isHopeless: boolean;
}

const FIRST_MS = 5000;
const LONGEST_MS = 25_000;
/** Below this a poll isn't worth holding. */
const SHORTEST_MS = 2000;
const BELOW_A_CUT = 0.7;
/** Each hold at the ceiling that went well lifts it a little, so that a limit that has gone is found out. */
const LIFT = 1.05;

/** What is tried first. `longestMs` bounds how late a poll that died silently is found out. */
export function firstHold(longestMs = LONGEST_MS): Hold {
  const ceilingMs = Math.min(LONGEST_MS, longestMs);
  const holdMs = Math.min(FIRST_MS, ceilingMs);
  return { holdMs, ceilingMs, longestMs: ceilingMs, isDripping: false, isHopeless: false };
}

/** What a poll teaches: it came back with nothing, or was cut after `cutMs`. */
export function afterPoll(hold: Hold, outcome: { readonly cutMs: number } | 'empty'): Hold {
  if (outcome === 'empty') {
    const ceilingMs =
      hold.holdMs < hold.ceilingMs ? hold.ceilingMs : Math.min(hold.longestMs, hold.ceilingMs * LIFT);
    return { ...hold, ceilingMs, holdMs: Math.min(hold.holdMs * 2, ceilingMs) };
  }
  if (!hold.isDripping) return { ...hold, isDripping: true };
  const ceilingMs = BELOW_A_CUT * Math.min(outcome.cutMs, hold.holdMs);
  return { ...hold, holdMs: ceilingMs, ceilingMs, isHopeless: ceilingMs < SHORTEST_MS };
}
