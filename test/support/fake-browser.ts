import { build } from 'esbuild';
import type { Locks } from '../../src/browser/leadership.ts';
import type * as TabsModule from '../../src/browser/tabs.ts';
import { FakeStorage } from './browser-storage.ts';

/*
 * Browser tabs in one process and in a time of their own: each runs the code of tabs.ts with timers, a BroadcastChannel
 * and navigator.locks that stop when the tab is frozen, and vanish when it crashes.
 */

type Task = { readonly at: number; readonly order: number; readonly act: () => void };

/** The compiled code of tabs.ts, to be run by each tab with that tab's globals. */
export async function compileTabs(): Promise<string> {
  const built = await build({
    entryPoints: [new URL('../../src/browser/tabs.ts', import.meta.url).pathname],
    bundle: true,
    format: 'iife',
    globalName: 'tabs',
    target: 'es2017',
    write: false,
  });
  return `${built.outputFiles[0]?.text};return tabs`;
}

/** The locks of an origin. As in browsers, one that is granted to a frozen tab is held though its callback can't run. */
class FakeLocks {
  holder: { tab: FakeTab; fail: (error: Error) => void } | undefined;
  queue: { tab: FakeTab; grant: () => void }[] = [];

  /** What `navigator.locks` is in this tab. */
  of(tab: FakeTab): Locks {
    return {
      request: (_name, { steal, signal }, held) =>
        new Promise((resolve, reject) => {
          const fail = (error: Error) => tab.later(0, () => reject(error));
          if (steal && signal) return fail(new Error('NotSupportedError'));
          const mine = { tab, fail };
          const grant = () => {
            this.holder = mine;
            tab.later(0, async () => {
              const result = await held();
              resolve(result);
              if (this.holder === mine) this.next();
            });
          };
          const waiting = { tab, grant };
          signal?.addEventListener('abort', () => {
            if (!this.queue.includes(waiting)) return;
            this.queue = this.queue.filter((other) => other !== waiting);
            fail(new Error('AbortError'));
          });
          if (steal) {
            this.holder?.fail(new Error('AbortError'));
            grant();
          } else if (this.holder) this.queue.push(waiting);
          else grant();
        }),
    };
  }

  next(): void {
    this.holder = undefined;
    this.queue.shift()?.grant();
  }

  forget(tab: FakeTab): void {
    this.queue = this.queue.filter((waiting) => waiting.tab !== tab);
    if (this.holder?.tab === tab) this.next();
  }
}

/** A browser: what its tabs share, and their time. */
export class FakeBrowser {
  readonly locks = new FakeLocks();
  readonly storage = new FakeStorage();
  readonly tabs: FakeTab[] = [];
  readonly code: string;
  now = 1_000_000;
  /** How many of the next messages over a channel get lost. */
  losing = 0;
  #tasks: Task[] = [];
  #order = 0;

  constructor(code: string) {
    this.code = code;
  }

  schedule(ms: number, act: () => void): void {
    this.#tasks.push({ at: this.now + ms, order: this.#order++, act });
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    for (;;) {
      await new Promise(setImmediate);
      const next = this.#tasks.reduce<Task | undefined>(
        (a, b) => (a && (a.at < b.at || (a.at === b.at && a.order < b.order)) ? a : b),
        undefined,
      );
      if (!next || next.at > until) break;
      this.#tasks = this.#tasks.filter((task) => task !== next);
      this.now = Math.max(this.now, next.at);
      next.act();
    }
    this.now = until;
  }
}

/** One tab. What happens in it while it is frozen happens when it thaws. */
export class FakeTab {
  readonly browser: FakeBrowser;
  readonly module: typeof TabsModule;
  readonly locks: Locks;
  readonly BroadcastChannel: typeof BroadcastChannel;
  readonly timers = new Set<object>();
  readonly channels = new Set<FakeChannel>();
  life: 'running' | 'frozen' | 'dead' = 'running';
  #backlog: (() => void)[] = [];

  constructor(browser: FakeBrowser) {
    this.browser = browser;
    browser.tabs.push(this);
    this.locks = browser.locks.of(this);
    const tab = this;
    this.BroadcastChannel = class extends FakeChannel {
      constructor(name: string) {
        super(tab, name);
      }
    } as unknown as typeof BroadcastChannel;
    const globals: Record<string, unknown> = {
      setTimeout: (act: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
        const timer = {};
        this.timers.add(timer);
        this.later(ms, () => this.timers.delete(timer) && act(...args));
        return timer;
      },
      setInterval: (act: () => void, ms: number) => {
        const timer = {};
        const run = () => {
          if (!this.timers.has(timer)) return;
          this.later(ms, run);
          act();
        };
        this.timers.add(timer);
        this.later(ms, run);
        return timer;
      },
      clearTimeout: (timer: object) => this.timers.delete(timer),
      clearInterval: (timer: object) => this.timers.delete(timer),
      Date: { now: () => browser.now },
    };
    this.module = new Function(...Object.keys(globals), browser.code)(...Object.values(globals));
  }

  /** Runs something in this tab after a while, if it can run by then. */
  later(ms: number, act: () => void): void {
    this.browser.schedule(ms, () => {
      if (this.life === 'running') act();
      else if (this.life === 'frozen') this.#backlog.push(act);
    });
  }

  freeze(): void {
    if (this.life === 'running') this.life = 'frozen';
  }

  thaw(): void {
    if (this.life !== 'frozen') return;
    this.life = 'running';
    for (const act of this.#backlog.splice(0)) this.later(0, act);
  }

  /** The tab's process is gone, without a word. */
  crash(): void {
    this.life = 'dead';
    this.channels.clear();
    this.browser.locks.forget(this);
  }
}

class FakeChannel {
  readonly #tab: FakeTab;
  readonly #name: string;
  onmessage: ((message: { data: unknown }) => void) | null = null;

  constructor(tab: FakeTab, name: string) {
    this.#tab = tab;
    this.#name = name;
    tab.channels.add(this);
  }

  postMessage(data: unknown): void {
    if (!this.#tab.channels.has(this)) throw new Error('InvalidStateError');
    const copy = structuredClone(data);
    for (const tab of this.#tab.browser.tabs) {
      for (const channel of tab.channels) {
        if (channel === this || channel.#name !== this.#name) continue;
        if (this.#tab.browser.losing > 0) this.#tab.browser.losing--;
        else tab.later(2, () => tab.channels.has(channel) && channel.onmessage?.({ data: copy }));
      }
    }
  }

  close(): void {
    this.#tab.channels.delete(this);
  }
}
