// `npm run gauntlet`: every route of test/proxies/routes.ts, with a minute of traffic both ways. Prints the table of what came
// through and puts it into README.md, between the marks, if everything is as it has to be.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const README = join(ROOT, 'README.md');
const MARKED = /(<!-- gauntlet -->\n)[\s\S]*?(<!-- \/gauntlet -->)/;

const folder = mkdtempSync(join(tmpdir(), 'tl-gauntlet-'));
const table = join(folder, 'table.md');
const { status } = spawnSync(
  process.execPath,
  [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', 'test/gauntlet.test.ts'],
  { cwd: ROOT, stdio: 'inherit', env: { ...process.env, GAUNTLET_TABLE: table } },
);
try {
  const text = readFileSync(table, 'utf8');
  console.log(`\n${text}`);
  const readme = readFileSync(README, 'utf8');
  const isWhole = !process.env.GAUNTLET_ONLY && !process.env.GAUNTLET_SECONDS;
  if (status === 0 && isWhole && MARKED.test(readme)) {
    writeFileSync(
      README,
      readme.replace(MARKED, (_all, begin, end) => `${begin}\n${text}\n${end}`),
    );
    console.log('README.md has this table now.');
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status ?? 1);
