import type { News, State } from './feed.ts';

/** From a tab: it is here, and what it needs. Also asks whoever leads to speak. */
export interface Here {
  readonly kind: 'here';
  readonly tab: string;
  readonly rooms: readonly string[];
  readonly isResting: boolean;
}

/** From whoever leads: all that happened in these rooms between two cursors, which may be nothing. */
export interface Told {
  readonly kind: 'told';
  readonly tab: string;
  readonly rooms: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly event: News | undefined;
  readonly state: State;
  /** Every tab is to say that it is here. */
  readonly isRollCall: boolean;
}

/** What tabs say to one another. */
export type Word =
  | Here
  | Told
  | { readonly kind: 'expect'; readonly id: string }
  | { readonly kind: 'wake'; readonly why: 'online' | 'shown' }
  | { readonly kind: 'bye'; readonly tab: string };
