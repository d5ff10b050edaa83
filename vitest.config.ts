import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'examples/*/test/*.test.js'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Two cores are enough: more than half of a test's time is waiting.
    maxWorkers: 3,
  },
});
