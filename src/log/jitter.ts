/**
 * A wait of `ms` milliseconds, made `from` to `to` times as long at random, so that processes don't act in step. Whole: V8
 * keeps a fraction elsewhere, and once any timer had one, `setTimeout` and what calls it may be compiled in vain over and over.
 */
export function jittered(ms: number, from: number, to: number): number {
  return Math.round(ms * (from + (to - from) * Math.random()));
}
