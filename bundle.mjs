#!/usr/bin/env node
// Bundles what runs in browsers, and holds it under its limits: a page over a slow line is a page too late.
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const KB = 1024;
const CLIENT = { entry: 'src/browser/client.ts', limitBytes: 14 * KB };

const bundles = [
  // The client, the linkifier (5 KB), the strings of three languages (4 KB) and what shows it all (9 KB).
  { entry: 'src/browser/page/main.ts', outfile: 'public/page.js', format: 'iife', limitBytes: 33 * KB },
  { ...CLIENT, outfile: 'public/client.js', format: 'iife', globalName: 'Throughline' },
  { ...CLIENT, outfile: 'dist/client.mjs', format: 'esm' },
  { entry: 'src/browser/doctor/main.ts', outfile: 'public/doctor.js', format: 'iife', limitBytes: 25 * KB },
];

/**
 * `#private` names, which es2017 lacks, would each become a WeakMap with a call around every use: a third of the
 * bundle. TypeScript has seen to it that nobody else uses them, so here they are plain properties with short names.
 */
const privateNames = {
  name: 'private-names',
  setup({ onLoad }) {
    onLoad({ filter: /src\/browser\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      return { contents: source.replace(/(^|[\s.!(])#([A-Za-z]\w*)/gm, '$1__$2'), loader: 'ts' };
    });
  },
};

for (const { entry, limitBytes, ...output } of bundles) {
  if (!existsSync(entry)) continue;
  await build({
    ...output,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    target: 'es2017',
    charset: 'utf8',
    logLevel: 'warning',
    plugins: [privateNames],
    mangleProps: /^__[a-z]/,
    // Fields as plain assignments: what would define them instead is code in every class.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false, verbatimModuleSyntax: true } },
  });
  const gzipBytes = gzipSync(readFileSync(output.outfile), { level: 9 }).length;
  console.log(
    `${output.outfile.padEnd(18)} ${(gzipBytes / KB).toFixed(1)} KB gzip of ${limitBytes / KB} at most`,
  );
  if (gzipBytes > limitBytes) {
    console.error(`${output.outfile} is larger than it may be.`);
    process.exitCode = 1;
  }
}
