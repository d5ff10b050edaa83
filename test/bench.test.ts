import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

test('thousands of comings and goings leave nothing behind in the service’s memory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tl-bench-'));
  try {
    const args = ['--quick', '--rows=5', '--sides=throughline', '--redis=memory', '--soak=12'];
    const options = { cwd: ROOT, timeout: 110_000 };
    await promisify(execFile)(process.execPath, ['bench/run.mjs', ...args, `--out=${folder}`], options);
    const results = await readFile(join(folder, 'RESULTS.md'), 'utf8');
    const [, gone, verdict] =
      /12 s of comings and goings \(([\d,]+) of them.*collected heap.*≤ 1\.05 ×: (\S+)/.exec(results) ?? [];
    expect(Number(gone?.replaceAll(',', '')), results).toBeGreaterThan(2000);
    expect(verdict, results).toBe('met');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
