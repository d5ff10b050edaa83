import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatCursor, parseCursor } from '../src/chat/cursors.ts';
import { compareIds, earlierId, laterId, parseStreamId, type StreamId, streamId } from '../src/chat/ids.ts';
import { foldName } from '../src/chat/users.ts';

const MAX_HALF = 2n ** 64n - 1n;
const half = fc.oneof(
  fc.bigInt(0n, MAX_HALF),
  fc.bigInt(0n, 20n),
  fc.bigInt(0n, 10n).map((n) => MAX_HALF - n),
);
const anyId = fc.tuple(half, half).map(([ms, seq]) => `${ms}-${seq}` as StreamId);
const halves = (id: string) => id.split('-').map(BigInt) as [bigint, bigint];

describe('stream ids', () => {
  test('are ordered as the numbers that their halves are', () => {
    fc.assert(
      fc.property(anyId, anyId, (a, b) => {
        const [[msA, seqA], [msB, seqB]] = [halves(a), halves(b)];
        const wanted = msA === msB ? Number(seqA > seqB) - Number(seqA < seqB) : msA < msB ? -1 : 1;
        expect(Math.sign(compareIds(a, b))).toBe(wanted);
        expect(laterId(a, b)).toBe(wanted < 0 ? b : a);
        expect(earlierId(a, b)).toBe(wanted < 0 ? a : b);
      }),
      { numRuns: 2000 },
    );
  });

  test('that share a millisecond are ordered by their sequence', () => {
    fc.assert(
      fc.property(half, half, half, (ms, a, b) => {
        const order = compareIds(`${ms}-${a}` as StreamId, `${ms}-${b}` as StreamId);
        expect(Math.sign(order)).toBe(Number(a > b) - Number(a < b));
      }),
    );
  });

  test('of 64 bits are read as they are', () => {
    fc.assert(fc.property(anyId, (id) => parseStreamId(id) === id));
  });

  test('with a half beyond 64 bits are none', () => {
    fc.assert(
      fc.property(fc.bigInt(MAX_HALF + 1n, 10n ** 30n), half, (big, small) => {
        expect(parseStreamId(`${big}-${small}`)).toBeUndefined();
        expect(parseStreamId(`${small}-${big}`)).toBeUndefined();
      }),
    );
  });

  test.each([
    '',
    '-',
    '1',
    '1-',
    '-1',
    '1-2-3',
    '01-0',
    '0-00',
    '1-0\n',
    ' 1-0',
    '+1-0',
    '1.5-0',
    '1-*',
    '$',
    '+',
    '١-٠',
    '1e3-0',
    '0x1-0',
  ])('%j is none', (text) => {
    expect(parseStreamId(text)).toBeUndefined();
    expect(() => streamId(text)).toThrow(TypeError);
  });

  test('are nothing but digits around a dash, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (parseStreamId(text) !== undefined) expect(text).toMatch(/^\d{1,20}-\d{1,20}$/);
      }),
    );
    for (const value of [undefined, null, 1, {}, ['1-0']]) expect(() => streamId(value)).toThrow(TypeError);
  });
});

describe('cursors', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9]{1,32}$/), anyId, (epoch, id) => {
        expect(parseCursor(formatCursor(epoch, id))).toEqual({ epoch, id });
      }),
    );
  });

  test.each([
    '',
    '.',
    '1-0',
    'e.1',
    '.1-0',
    'e.1-0.1',
    'e.01-0',
    'e.1-0\n',
    '\ne.1-0',
    'e e.1-0',
    'é.1-0',
    `${'e'.repeat(33)}.1-0`,
    `e.${MAX_HALF + 1n}-0`,
  ])('%j is none', (text) => expect(parseCursor(text)).toBeUndefined());
});

describe('folded names', () => {
  test.each([
    ['Alice', 'ＡLICE'],
    ['straße', 'STRASSE'],
    ['STRAẞE', 'STRASSE'],
    ['Σίσυφος', 'ΣΊΣΥΦΟΣ'],
    ['Al\u200bice', 'alice'],
    ['A\u00adlice\ufe0f', 'alice'],
    ['Zo\u0065\u0308', 'ZO\u00cb'],
    ['a  b', 'A\u00a0b'],
    ['ﬁn', 'FIN'],
  ])('%j and %j are one', (a, b) => expect(foldName(a)).toBe(foldName(b)));

  test('of different people differ', () => {
    expect(foldName('Alice')).not.toBe(foldName('Alicia'));
    expect(foldName('Zoe')).not.toBe(foldName('Zoë'));
  });

  test('of nothing that can be seen are empty', () => {
    for (const name of ['', ' ', '\u200b\u2060', '\u3164', '\u00a0']) expect(foldName(name)).toBe('');
  });

  test('stay what they are when folded again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        const folded = foldName(name);
        expect(foldName(folded)).toBe(folded);
      }),
    );
    for (let point = 0; point <= 0x10ffff; point++) {
      const folded = foldName(String.fromCodePoint(point));
      if (foldName(folded) !== folded) expect.fail(`U+${point.toString(16)}`);
    }
  });
});

describe('the layers', () => {
  const SRC = fileURLToPath(new URL('../src', import.meta.url));
  const LAYERS = [
    ['chat'],
    ['log'],
    ['delivery', 'webhooks'],
    ['http'],
    ['metrics'],
    ['app'],
    ['open-shard'],
    ['warm-up'],
    ['open-service'],
    ['server', 'library'],
    ['workers', 'cli'],
    ['main'],
  ];
  const MAY_USE_CONFIG = ['warm-up', 'open-service', 'server', 'library', 'workers', 'cli', 'main'];
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );

  /** `src/log/keys.ts` is of `log`, `src/app.ts` of `app`. */
  const partOf = (file: string) => (file.split('/')[0] as string).replace(/\.ts$/, '');
  const layerOf = (part: string) => LAYERS.findIndex((layer) => layer.includes(part));
  const withoutComments = (source: string) =>
    source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
  const codeOf = (file: string) => withoutComments(readFileSync(join(SRC, file), 'utf8'));

  /** What a file imports of src, and whether that is types alone. */
  function importsOf(file: string) {
    const found = codeOf(file).matchAll(
      /(?:(?:import|export)\s+(type\s)?[^;'"]*?from\s*|import\s*\(\s*|import\s+)['"](\.[^'"]+)['"]/g,
    );
    return Array.from(found, ([, type, path]) => ({
      isType: type !== undefined,
      to: relative(SRC, join(SRC, dirname(file), path as string)),
    }));
  }

  test('import only what is left of them', () => {
    expect(files.length).toBeGreaterThan(40);
    expect(importsOf('main.ts').map(({ to }) => to)).toContain('server.ts');
    const wrong: string[] = [];
    for (const file of files) {
      const from = partOf(file);
      for (const { to } of importsOf(file)) {
        const target = partOf(to);
        const isRight =
          from === 'config'
            ? ['log/start-error.ts', 'log/redis-address.ts'].includes(to)
            : target === 'config'
              ? MAY_USE_CONFIG.includes(from)
              : from === target ||
                from === 'browser' ||
                (layerOf(target) >= 0 && layerOf(target) < layerOf(from));
        if (!isRight) wrong.push(`${file} → ${to}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('have every file of src in one of them', () => {
    const strays = files.filter((file) => layerOf(partOf(file)) < 0);
    expect(strays.map(partOf).filter((part) => part !== 'config' && part !== 'browser')).toEqual([]);
  });

  test('lend the browser’s page nothing but types of chat', () => {
    for (const file of files.filter((name) => partOf(name) === 'browser')) {
      for (const { to, isType } of importsOf(file)) {
        if (partOf(to) !== 'browser') expect([to, partOf(to), isType]).toEqual([to, 'chat', true]);
      }
    }
  });

  test('leave the process to main alone', () => {
    expect(files.filter((file) => /\bprocess\./.test(codeOf(file)))).toEqual(['main.ts']);
  });
});
