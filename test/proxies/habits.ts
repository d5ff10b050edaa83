/** A request on its way through the chaos proxy; `type` is its answer's, once there is one. */
export interface Exchange {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly isUpgrade: boolean;
  type?: string;
}

/** What the chaos proxy says in the service's place. */
export interface OwnAnswer {
  readonly status: number;
  readonly html: string;
}

/** How a connection is ended: without the last chunk, as if all had been said, or in the middle of a chunk. */
export type CutKind = 'torn' | 'clean' | 'broken-chunk';

/** What the chaos proxy does to an exchange. Times count from its start; what is left out isn't done. */
export interface Habits {
  /** Until the end: the whole answer, or its body; each write until the next one; a number: blocks of that many bytes. */
  readonly hold?: 'answer' | 'body' | 'writes' | number;
  readonly cut?: {
    readonly afterMs?: number;
    readonly idleMs?: number;
    readonly bytes?: number;
    readonly how: CutKind;
  };
  /** From then on the client hears nothing, not even an end, while the service is read on. */
  readonly blackHoleAfterMs?: number;
  readonly answer?: OwnAnswer;
  /** A GET without a whole answer by then is sent to the service again, so often in all, and then answered 504. */
  readonly repeat?: { readonly everyMs: number; readonly times: number };
  /** A GET of the same URL is answered from memory for so long, whatever its answer's headers say. */
  readonly cacheMs?: number;
  /** Compresses, and never flushes. */
  readonly gzip?: boolean;
  /** Speaks HTTP/1.0 to the service. */
  readonly http10?: boolean;
  /** Longer answers are refused, or cut there if their length wasn't said. */
  readonly maxAnswerBytes?: number;
  readonly delayMs?: { readonly up?: number; readonly down?: number };
  /** Headers taken away, in lower case. */
  readonly strip?: { readonly request?: readonly string[]; readonly answer?: readonly string[] };
  /** `hold` lets the handshake through and nothing after it. */
  readonly upgrades?: 'pass' | 'refuse' | 'hold';
  /** Goes on reading from the service for so long after the client has left. */
  readonly lingerMs?: number;
}

/** Habits, and the exchanges that they are for (all, if it isn't said). */
export interface Rule extends Habits {
  readonly on?: (exchange: Exchange) => boolean;
}

/** What the rules make of an exchange; the later rule wins. */
export function habitsOf(rules: readonly Rule[], exchange: Exchange): Habits {
  return Object.assign({}, ...rules.filter(({ on }) => on?.(exchange) ?? true)) as Habits;
}

/** Whether it is one of the streams, by GET or by POST. */
export const isStream = ({ path }: Exchange): boolean => path.endsWith('/api/stream');

/** Whether it is a poll. */
export const isPoll = ({ path }: Exchange): boolean => path.endsWith('/api/poll');

/** Whether its answer is an event stream by name, as the one by POST isn't. */
export const isEventStream = ({ type }: Exchange): boolean => type?.startsWith('text/event-stream') ?? false;
