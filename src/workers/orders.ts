import type { Config } from '../config.ts';
import type { Samples } from '../metrics/samples.ts';

/** The command line of a worker, which is told everything else by the primary. */
export const WORKER_ARGUMENT = 'worker';

/** What the primary tells a worker. */
export type Order =
  | { readonly kind: 'run'; readonly config: Config }
  /** Accept no more, say `bye`, finish what is under way; end idle connections after `idleMs`. Safe to repeat; 0 ends them now. */
  | { readonly kind: 'stop'; readonly idleMs: number }
  /** Say your own metrics. */
  | { readonly kind: 'measure' }
  /** The metrics of all, as asked for under that number; without them they couldn't be read. */
  | { readonly kind: 'scraped'; readonly asked: number; readonly text?: string | undefined };

/** What a worker tells the primary. */
export type Report =
  /** It takes orders: one sent before would have been lost. */
  | { readonly kind: 'here' }
  | { readonly kind: 'listening'; readonly url: string }
  /** The sentence of its StartError. */
  | { readonly kind: 'refused'; readonly why: string }
  /** Its own metrics: asked for, and once more before it ends; without them they couldn't be read. */
  | { readonly kind: 'measured'; readonly samples?: Samples | undefined }
  /** Somebody asked it for the metrics of all. */
  | { readonly kind: 'scrape'; readonly asked: number };
