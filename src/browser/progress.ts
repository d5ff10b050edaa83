import type { GapNotice } from '../chat/entries.ts';
import { compareIds, idOf, isToldAt } from './cursors.ts';
import type { News } from './feed.ts';

const epochOf = (cursor: string): string => cursor.split('.', 1)[0] as string;
const MAX_GAPS = 100;

/**
 * Where somebody stands, told by several carriers that overlap: what is at or below the cursor has been told and isn't
 * told again. Ids of two histories aren't compared; only a `gap` leads from one to the other.
 */
export class Progress {
  #cursor: string;
  /** Gaps told lately: two carriers may come upon the same one. */
  readonly #gaps = new Set<string>();

  constructor(cursor: string) {
    this.#cursor = cursor;
  }

  get cursor(): string {
    return this.#cursor;
  }

  /** Whether this is new; if so it counts as told. */
  accepts(event: News | undefined, cursor: string | undefined): boolean {
    if (event?.kind === 'gap') return this.#acceptsGap(event, cursor);
    if (cursor === undefined) return event !== undefined;
    if (epochOf(cursor) !== epochOf(this.#cursor) || isToldAt(this.#cursor, cursor)) return false;
    this.#cursor = cursor;
    return true;
  }

  #acceptsGap({ room, after, oldest, reason }: GapNotice, cursor: string | undefined): boolean {
    const key = `${room} ${after} ${oldest} ${reason}`;
    if (this.#gaps.has(key) || this.#isBehind(after, oldest, reason)) return false;
    this.#gaps.add(key);
    if (this.#gaps.size > MAX_GAPS) this.#gaps.delete(this.#gaps.values().next().value as string);
    if (cursor !== undefined) this.#cursor = cursor;
    return true;
  }

  /** Whether a gap is one that lies behind already. */
  #isBehind(after: string, oldest: string | null, reason: GapNotice['reason']): boolean {
    if (reason === 'unknown-cursor') return false;
    if (epochOf(after) !== epochOf(this.#cursor)) return true;
    const at = idOf(this.#cursor);
    return reason === 'trimmed' && oldest !== null && at !== undefined && compareIds(oldest, at) <= 0;
  }
}
