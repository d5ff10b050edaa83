import { existsSync } from 'node:fs';
import { build } from 'esbuild';
import { expect, test, vi } from 'vitest';
import { Firefox, type Tab } from './support/bidi.ts';
import { startTestRedis } from './support/redis.ts';
import { startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const path = process.env['FIREFOX'] ?? '/usr/bin/firefox-esr';
// Where everything is tested, it isn't left out.
const isSkipped = !existsSync(path) && process.env['CI'] !== 'true';
const why = isSkipped ? ` (skipped: ${path} isn’t installed; npm run setup -- --tests)` : '';

// A browser on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

async function bundled(entry: string): Promise<string> {
  const built = await build({
    entryPoints: [`src/browser/page/${entry}`],
    bundle: true,
    format: 'iife',
    globalName: 'ThroughlineLinks',
    target: 'es2017',
    write: false,
  });
  return built.outputFiles[0]?.text as string;
}

const texts = (tab: Tab) =>
  tab.evaluate<string[]>(`Array.from(document.querySelectorAll('#log .text'), (text) => text.textContent)`);

async function holds(tab: Tab, expression: string): Promise<void> {
  await waitFor(expression, () => tab.evaluate<boolean>(expression), 30_000);
}

async function logIn(firefox: Firefox, url: string, name: string): Promise<Tab> {
  const tab = await firefox.open(url);
  await holds(tab, `document.activeElement.id === 'name'`);
  await tab.enter(name);
  await live(tab);
  return tab;
}

const live = (tab: Tab) => holds(tab, `document.querySelector('.status[data-tone="good"]') !== null`);

async function say(tab: Tab, text: string): Promise<void> {
  await tab.evaluate(`document.getElementById('text').focus()`);
  await tab.enter(text);
}

test.skipIf(isSkipped)(`two people chat in Firefox, and find everything after a reload${why}`, async () => {
  const redis = await startTestRedis();
  const server = await startTestServer(testConfig(redis));
  const firefox = await Firefox.launch(path);
  try {
    const [page, links] = await Promise.all([bundled('main.ts'), bundled('links.ts')]);
    await firefox.serve(`${server.url}/page.js`, page);
    await firefox.serve(`${server.url}/links.js`, links);
    const ada = await logIn(firefox, `${server.url}/`, 'Ada');
    const bob = await logIn(firefox, `${server.url}/`, 'Bob');
    await say(ada, 'hello Bob');
    await waitFor('Ada’s words at Bob’s', async () => (await texts(bob)).includes('hello Bob'));
    await say(bob, 'see https://example.org/');
    const all = ['hello Bob', 'see https://example.org/'];
    await waitFor('Bob’s words at Ada’s', async () => (await texts(ada)).length === 2);
    await holds(ada, `document.querySelector('#log a')?.href === 'https://example.org/'`);
    expect(await ada.evaluate(`document.getElementById('status').textContent`)).toBe('Live over a stream');
    await ada.reload();
    await live(ada);
    await waitFor('the history', async () => (await texts(ada)).length === 2);
    await say(ada, 'back again');
    await waitFor('more at Bob’s', async () => (await texts(bob)).length === 3);
    for (const tab of [ada, bob]) {
      await holds(tab, `document.querySelectorAll('#outbox li').length === 0`);
      expect(await texts(tab)).toEqual([...all, 'back again']);
    }
  } finally {
    await firefox.close();
    await server.close();
    await redis.stop();
  }
});
