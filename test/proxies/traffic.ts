import { setTimeout as pause } from 'node:timers/promises';

const FILLER = 'The quick brown fox jumps over the lazy dog, again. ';
const SIZES = [20, 60, 60, 120, 120, 120, 300, 1000, 2000, 4000];

/** Says messages at irregular intervals for a while: bursts, then pauses of up to 5 s. Numbers them under a name. */
export async function say(
  name: string,
  {
    forMs,
    random,
    bursts,
    say: post,
  }: {
    readonly forMs: number;
    readonly random: () => number;
    /** Messages in a burst, at most. */
    readonly bursts: number;
    readonly say: (text: string) => Promise<void> | void;
  },
): Promise<void> {
  const until = performance.now() + forMs;
  for (let number = 0; performance.now() < until; ) {
    const burst = number === 0 ? 1 : 1 + Math.floor(random() * bursts);
    for (let index = 0; index < burst; index++) await post(textOf(name, number++, random));
    await pause(Math.min(pauseMs(random), Math.max(until - performance.now(), 0)));
  }
}

/** What a message goes by: its first two words. */
export function keyOf(text: string): string {
  return text.split(' ', 2).join(' ');
}

/** The same numbers from 0 to 1 each time: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function textOf(name: string, number: number, random: () => number): string {
  const size = SIZES[Math.floor(random() * SIZES.length)] as number;
  return `${name} ${number} ${FILLER.repeat(Math.ceil(size / FILLER.length))}`.slice(0, size).trimEnd();
}

function pauseMs(random: () => number): number {
  const kind = random();
  if (kind < 0.65) return 100 + random() * 1400;
  return kind < 0.9 ? 1500 + random() * 1500 : 3000 + random() * 2000;
}
