import type { Config } from '../config.ts';

/** The command line of a worker, which is told everything else by the primary. */
export const WORKER_ARGUMENT = 'worker';

/** What the primary tells a worker. */
export type Order =
  | { readonly kind: 'run'; readonly config: Config }
  /** Accept no more, say `bye`, finish what is under way; end idle connections after `idleMs`. Safe to repeat; 0 ends them now. */
  | { readonly kind: 'stop'; readonly idleMs: number };

/** What a worker tells the primary. */
export type Report =
  /** It takes orders: one sent before would have been lost. */
  | { readonly kind: 'here' }
  | { readonly kind: 'listening'; readonly url: string }
  /** The sentence of its StartError. */
  | { readonly kind: 'refused'; readonly why: string };
