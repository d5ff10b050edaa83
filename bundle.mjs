#!/usr/bin/env node
// Bundles what runs in browsers, and holds it under its limits: a page over a slow line is a page too late.
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';

const KB = 1024;
/** 0.4 KB above 25: who is a guest, a bot or a moderator is said beside each name, and a closed room says so at once. */
const PAGE_LIMIT_BYTES = 25.4 * KB;
/** And 0.3 KB: who may say who is logged in, and what a log-out has to wait for. */
const EMBED_LIMIT_BYTES = 25.7 * KB;
const CLIENT = { entry: 'src/browser/client.ts', limitBytes: 14.5 * KB };

const bundles = [
  {
    entry: 'src/browser/page/main.ts',
    outfile: 'public/page.js',
    format: 'iife',
    limitBytes: PAGE_LIMIT_BYTES,
  },
  {
    entry: 'src/browser/page/links.ts',
    outfile: 'public/links.js',
    format: 'iife',
    globalName: 'ThroughlineLinks',
    limitBytes: 6 * KB,
  },
  { ...CLIENT, outfile: 'public/client.js', format: 'iife', globalName: 'Throughline' },
  { ...CLIENT, outfile: 'dist/client.mjs', format: 'esm' },
  {
    entry: 'src/browser/embed/main.ts',
    outfile: 'public/embed.js',
    format: 'iife',
    limitBytes: EMBED_LIMIT_BYTES,
  },
  { entry: 'src/browser/widget/main.ts', outfile: 'public/widget.js', format: 'iife', limitBytes: 4 * KB },
  { entry: 'src/browser/doctor/main.ts', outfile: 'public/doctor.js', format: 'iife', limitBytes: 25 * KB },
];

const STRINGS = 'src/browser/page/strings';

/**
 * `#private` names, which es2017 lacks, would each become a WeakMap with a call around every use: a third of the
 * bundle. TypeScript has seen to it that nobody else uses them, so here they are plain properties with short names.
 * What the replacement touches besides, such as a word in a string, isn't shortened, and so is found in what comes out.
 */
const PRIVATE = '__private_';
const privateNames = {
  name: 'private-names',
  setup({ onLoad }) {
    onLoad({ filter: /src\/browser\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      return { contents: source.replace(/(^|[\s.!(])#([A-Za-z]\w*)/gm, `$1${PRIVATE}$2`), loader: 'ts' };
    });
  },
};

/**
 * Spreading objects, which es2017 lacks too, comes with helpers that also copy symbols and accessors. Our own code has
 * neither, so `Object.assign` does it. The helpers stand before the first file; a bundle that needs others keeps them all.
 */
function withLightHelpers(code) {
  const files = code.slice(code.search(/^\/\/ (src|node_modules)\//m));
  const needsOthers = /\b__(?!private_|spread(?:Values|Props)\b)[a-z]\w+(?=\()/i.test(files);
  return needsOthers
    ? code
    : `const __spreadValues = Object.assign, __spreadProps = Object.assign;\n${files}`;
}

for (const { entry, limitBytes, outfile, ...form } of bundles) {
  if (!existsSync(entry)) continue;
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    write: false,
    minifySyntax: true,
    target: 'es2017',
    charset: 'utf8',
    logLevel: 'warning',
    plugins: [privateNames],
    mangleProps: new RegExp(`^${PRIVATE}`),
    legalComments: 'none',
    // Newer than es2017. In Node, which has no `self`, it is the module that is used.
    define: form.format === 'iife' ? { globalThis: 'self' } : {},
    // Fields as plain assignments: what would define them instead is code in every class.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false, verbatimModuleSyntax: true } },
  });
  const whole = withLightHelpers(outputFiles[0].text);
  const { code } = await transform(whole, { ...form, minify: true, target: 'es2017', charset: 'utf8' });
  await writeFile(outfile, code);
  const [, touched] = new RegExp(`${PRIVATE}(\\w+)`).exec(code) ?? [];
  if (touched)
    fail(
      `${entry} has, or imports, a “#${touched}” in a string or elsewhere that isn’t a private name; write it otherwise.`,
    );
  const gzipBytes = gzipSync(code, { level: 9 }).length;
  console.log(`${outfile.padEnd(18)} ${(gzipBytes / KB).toFixed(1)} KB gzip of ${limitBytes / KB} at most`);
  if (gzipBytes > limitBytes) fail(`${outfile} is larger than it may be.`);
}

// English is in the page's script; the others are fetched by those who read them.
for (const file of readdirSync(STRINGS)) {
  const [language] = file.split('.');
  if (language === 'en') continue;
  const { code } = await transform(await readFile(`${STRINGS}/${file}`, 'utf8'), { loader: 'ts' });
  const strings = await import(`data:text/javascript;charset=utf-8,${encodeURIComponent(code)}`);
  await writeFile(`public/strings-${language}.json`, JSON.stringify(strings[language]));
}

function fail(sentence) {
  console.error(sentence);
  process.exitCode = 1;
}
