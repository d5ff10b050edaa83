import { Frame } from '../delivery/frame.ts';
import { PAD_AFTER_MS, PROOF_AFTER_MS } from '../delivery/pulse.ts';
import { numberOf } from './reading-request.ts';

const BEAT_MS = 1000;

/** What a probe's beat drives. */
export interface BeatTargets {
  /** Event `n`, written `sentMs` after the first. */
  tell(n: number, sentMs: number): void;
  pad?(): void;
  done(): void;
}

/**
 * Times a probe as a real stream is timed: `n` 0 at once, filler after 100 ms, `n` 1 after 500 ms, then one each full
 * second, the last after `seconds`. Answers how to stop it early.
 */
export function startBeat(seconds: number, targets: BeatTargets): () => void {
  const startedAt = performance.now();
  const sinceStart = () => performance.now() - startedAt;
  let n = 0;
  let timer: NodeJS.Timeout;
  const beat = () => {
    targets.tell(n, Math.round(sinceStart()));
    if (n >= seconds + 1) return targets.done();
    n++;
    const dueAt = n === 1 ? PROOF_AFTER_MS : (n - 1) * BEAT_MS;
    timer = setTimeout(beat, Math.max(0, Math.ceil(dueAt - sinceStart())));
  };
  beat();
  const padding = setTimeout(() => targets.pad?.(), PAD_AFTER_MS);
  return () => {
    clearTimeout(timer);
    clearTimeout(padding);
  };
}

/** A probe that hasn't ended by itself is cut after this. */
export const PROBE_LIFE_MS = 40_000;

const SECONDS = { min: 1, max: 35, otherwise: 25 };

/** How long a probe is to last. Refusal: `invalid_field`. */
export function secondsOf(parameters: URLSearchParams): number {
  return Math.round(numberOf(parameters, 'seconds', SECONDS));
}

/** A probe's event: `hello`, then heartbeats, each with its own time since `hello`. */
export function beatFrame(n: number, sentMs: number): Frame {
  const kind = n === 0 ? 'hello' : 'heartbeat';
  return new Frame(kind, JSON.stringify({ kind, n, sentMs }));
}
