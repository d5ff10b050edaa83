import { setTimeout as pause } from 'node:timers/promises';

/** Waits until a condition holds, and says what it waited for if it never does. */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  withinMs = 10_000,
): Promise<NonNullable<T>> {
  const until = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value) return value as NonNullable<T>;
    if (performance.now() > until) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await pause(10);
  }
}
