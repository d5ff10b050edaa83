import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isToldAt } from '../src/browser/cursors.ts';
import type { State } from '../src/browser/feed.ts';
import type { SharedFeed, SharedFeedOptions } from '../src/browser/tabs.ts';
import { compileTabs, FakeBrowser, FakeTab } from './support/fake-browser.ts';
import { FakeLog } from './support/fake-log.ts';

type Means = 'locks' | 'lease';

/** A page in a tab: what it follows, and what it was told of that. */
class Page {
  readonly tab: FakeTab;
  readonly feed: SharedFeed;
  readonly #log: FakeLog;
  rooms: string[];
  /** From here on nothing may be missing. */
  start: string;
  cursor: string;
  ids: string[] = [];
  gaps = 0;
  states: State[] = [];
  flaws: string[] = [];

  constructor(browser: FakeBrowser, log: FakeLog, rooms: string[], means: Partial<SharedFeedOptions>) {
    this.tab = new FakeTab(browser);
    this.#log = log;
    this.rooms = rooms;
    this.start = this.cursor = log.cursor;
    this.feed = this.tab.module.shareFeed({
      scope: 'u1',
      open: (listener) => log.open(this.tab, listener),
      catchUp: (these, after) => log.catchUp(this.tab, these, after),
      BroadcastChannel: this.tab.BroadcastChannel,
      locks: undefined,
      storage: undefined,
      ...means,
      ...(means.locks && { locks: this.tab.locks }),
      listener: {
        told: (event, cursor) =>
          this.#told(event as { kind: string; id: string; room: string } | undefined, cursor),
        state: (state) => this.states.push(state),
      },
    });
    this.feed.follow(rooms, this.start);
  }

  #told(event: { kind: string; id: string; room: string } | undefined, cursor: string | undefined): void {
    if (this.tab.life !== 'running') this.flaws.push('told while it could not be');
    if (event && !this.rooms.includes(event.room)) this.flaws.push(`told of ${event.room}`);
    if (event?.kind === 'gap') {
      // The page reloads its history: what counts is what comes after.
      this.gaps++;
      this.ids = [];
      this.start = '';
    } else if (event && !this.ids.includes(event.id)) this.ids.push(event.id);
    if (!cursor) return;
    this.cursor = cursor;
    this.start ||= cursor;
    const due = this.#log
      .idsAfter(this.rooms, this.start)
      .filter((id) => isToldAt(cursor, `${cursor.split('.')[0]}.${id}`));
    const missing = due.filter((id) => !this.ids.includes(id));
    if (missing.length > 0) this.flaws.push(`at ${cursor} without ${missing}`);
  }

  follow(rooms: string[]): void {
    this.rooms = rooms;
    this.start = this.cursor;
    this.ids = [];
    this.feed.follow(rooms, this.cursor);
  }

  /** Nothing is missing of what the log has, nor out of order. */
  check(): void {
    const due = this.#log.idsAfter(this.rooms, this.start);
    expect(this.flaws).toEqual([]);
    expect(this.ids.filter((id) => due.includes(id))).toEqual(due);
  }

  crash(): void {
    this.tab.crash();
    this.#log.drop(this.tab);
  }

  get phase() {
    return this.states.at(-1)?.phase;
  }
}

let code: string;
let browser: FakeBrowser;
let log: FakeLog;
beforeAll(async () => {
  code = await compileTabs();
});
beforeEach(() => {
  browser = new FakeBrowser(code);
  log = new FakeLog();
});

describe.each<Means>(['locks', 'lease'])('tabs that settle by %s who leads', (means) => {
  const open = (...rooms: string[]) => openPage(browser, log, means, rooms);
  const openPage = (inBrowser: FakeBrowser, ofLog: FakeLog, by: Means, rooms: string[]) =>
    new Page(
      inBrowser,
      ofLog,
      rooms,
      by === 'locks' ? { locks: {} as never } : { storage: inBrowser.storage },
    );

  /** Lets time pass while one message comes in each 100 ms. */
  async function chat(ms: number, ...rooms: string[]): Promise<void> {
    for (let n = 0; n < ms / 100; n++) {
      log.post(rooms[n % rooms.length] as string);
      await browser.pass(100);
    }
  }

  const leaderOf = (pages: Page[]) => pages.find(({ feed }) => feed.isLeading) as Page;

  async function eight(...rooms: string[]): Promise<Page[]> {
    const pages = Array.from({ length: 8 }, () => open(...rooms));
    await browser.pass(1000);
    expect(log.connections).toBe(1);
    return pages;
  }

  test('eight tabs share one connection, and each is told everything', async () => {
    const pages = await eight('lobby');
    await chat(5000, 'lobby');
    expect(log.connections).toBe(1);
    for (const page of pages) {
      page.check();
      expect(page.phase).toBe('live');
      expect(page.feed.apart).toBe(undefined);
    }
    expect(log.polls).toBe(0);
  });

  test('a tab that comes late starts at its own cursor and misses nothing', async () => {
    const pages = [open('lobby')];
    await chat(2000, 'lobby');
    for (let n = 0; n < 3; n++) {
      pages.push(open('lobby'));
      await chat(300, 'lobby');
    }
    await browser.pass(200);
    for (const page of pages) page.check();
  });

  test('tabs in different rooms are told of their own only', async () => {
    const pages = [open('lobby'), open('garden'), open('lobby', 'attic')];
    await chat(2000, 'lobby', 'garden', 'attic');
    pages[1]?.follow(['garden', 'attic']);
    await chat(2000, 'lobby', 'garden', 'attic');
    pages[0]?.follow(['garden']);
    await chat(2000, 'lobby', 'garden', 'attic');
    await browser.pass(100);
    for (const page of pages) page.check();
    expect(log.connections).toBe(1);
  });

  test.each(['closes', 'crashes', 'freezes', 'is put away'] as const)(
    'when the leader %s, another leads within three seconds, and nothing is missed',
    async (what) => {
      const pages = await eight('lobby');
      await chat(1000, 'lobby');
      const old = leaderOf(pages);
      if (what === 'closes') old.feed.close();
      if (what === 'crashes') old.crash();
      if (what === 'freezes') old.tab.freeze();
      if (what === 'is put away') old.feed.leave();
      const others = pages.filter((page) => page !== old);
      await chat(3000, 'lobby');
      expect(others.filter(({ feed }) => feed.isLeading)).toHaveLength(1);
      await browser.pass(100);
      for (const page of others) {
        page.check();
        expect(page.phase).toBe('live');
      }
      if (what === 'freezes') old.tab.thaw();
      if (what === 'is put away') old.feed.come();
      await chat(2000, 'lobby');
      await browser.pass(100);
      for (const page of what === 'freezes' || what === 'is put away' ? pages : others) page.check();
      expect(log.connections).toBe(1);
    },
  );

  test('a follower that was frozen or missed what was said catches up, and leads nobody astray', async () => {
    const pages = await eight('lobby');
    const leader = leaderOf(pages);
    const follower = pages.find((page) => page !== leader) as Page;
    follower.tab.freeze();
    await chat(20_000, 'lobby');
    follower.tab.thaw();
    browser.losing = 20;
    await chat(2000, 'lobby');
    await browser.pass(1000);
    for (const page of pages) page.check();
    expect(leader.feed.isLeading).toBe(true);
    expect(log.connections).toBe(1);
  });

  test('a follower that can’t catch up says so, and goes on trying', async () => {
    const [one, two] = [open('lobby'), open('lobby')];
    await browser.pass(1000);
    const follower = leaderOf([one, two]) === one ? two : one;
    log.isFailing = true;
    browser.losing = 3;
    await chat(1000, 'lobby');
    expect(follower.phase).toBe('catching-up');
    log.isFailing = false;
    await browser.pass(12_000);
    expect(follower.phase).toBe('live');
    follower.check();
  });

  test.each([false, true])(
    'every tab is told that the history was rolled back (older file: %s)',
    async (isOlder) => {
      const pages = [open('lobby'), open('lobby'), open('lobby')];
      await chat(2000, 'lobby');
      pages.at(-1)?.tab.freeze();
      log.rollBack(5, isOlder);
      await chat(1000, 'lobby');
      pages.at(-1)?.tab.thaw();
      await chat(1000, 'lobby');
      await browser.pass(1000);
      for (const page of pages) {
        page.check();
        expect(page.gaps).toBeGreaterThan(0);
        expect(isToldAt(log.cursor, page.cursor)).toBe(true);
      }
    },
  );

  test('what any tab posts, and any tab’s waking, reach the connection; it rests when all tabs do', async () => {
    const [one, two] = [open('lobby'), open('lobby')];
    await browser.pass(1000);
    for (const [n, page] of [one, two].entries()) {
      page.feed.expect(`${n}-1`);
      page.feed.wake('online');
    }
    one.feed.rest(true);
    await browser.pass(100);
    expect(log.asked.sort()).toEqual(['expect 0-1', 'expect 1-1', 'wake online', 'wake online']);
    two.feed.rest(true);
    await browser.pass(100);
    one.feed.rest(false);
    await browser.pass(100);
    expect(log.asked.slice(4)).toEqual(['rest true', 'rest false']);
  });

  test('rooms of tabs that are gone are followed no longer', async () => {
    const [one, two] = [open('lobby'), open('garden')];
    await browser.pass(1000);
    const leader = leaderOf([one, two]);
    const other = leader === one ? two : one;
    other.crash();
    await browser.pass(12_000);
    expect(log.followed).toEqual(leader.rooms);
  });

  test('closing twice is safe, and leaves neither timer nor channel, nor anything told', async () => {
    const pages = await eight('lobby');
    for (const { feed } of pages) {
      feed.close();
      feed.close();
      feed.come();
    }
    log.post('lobby');
    await browser.pass(5000);
    expect(log.connections).toBe(0);
    for (const { tab, ids } of pages) {
      expect([tab.timers.size, tab.channels.size, ids]).toEqual([0, 0, []]);
    }
  });

  test('whatever happens to tabs, none has a hole, and in the end one connection serves all', async () => {
    const which = fc.nat(7);
    const act = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('post' as const), room: fc.constantFrom('a', 'b', 'c') }),
      },
      { weight: 6, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(2500) }) },
      fc.record({
        do: fc.constant('open' as const),
        rooms: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      }),
      fc.record({
        do: fc.constant('follow' as const),
        which,
        rooms: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      }),
      fc.record({ do: fc.constantFrom('close', 'crash', 'freeze', 'thaw', 'leave', 'come', 'wake'), which }),
      fc.record({ do: fc.constant('lose' as const), count: fc.nat(10) }),
      fc.record({ do: fc.constant('fail' as const), is: fc.boolean() }),
      fc.record({
        do: fc.constant('rollBack' as const),
        count: fc.integer({ min: 1, max: 3 }),
        isOlderFile: fc.boolean(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 10, maxLength: 60 }), async (acts) => {
        const inBrowser = new FakeBrowser(code);
        const ofLog = new FakeLog();
        const openOne = (rooms: string[]) => openPage(inBrowser, ofLog, means, rooms);
        let pages = [openOne(['a']), openOne(['a', 'b'])];
        for (const step of acts) {
          const page = 'which' in step ? pages[step.which % pages.length] : undefined;
          const isAwake = page?.tab.life === 'running';
          if (step.do === 'post') ofLog.post(step.room);
          else if (step.do === 'pass') await inBrowser.pass(step.ms);
          else if (step.do === 'open' && pages.length < 6) pages.push(openOne(step.rooms));
          else if (step.do === 'lose') inBrowser.losing = step.count;
          else if (step.do === 'fail') ofLog.isFailing = step.is;
          else if (step.do === 'rollBack') ofLog.rollBack(step.count, step.isOlderFile);
          else if (step.do === 'thaw') page?.tab.thaw();
          else if (step.do === 'crash') page?.crash();
          else if (page && isAwake) {
            if (step.do === 'follow') page.follow(step.rooms);
            if (step.do === 'freeze') page.tab.freeze();
            if (step.do === 'close' || step.do === 'leave' || step.do === 'come') page.feed[step.do]();
            if (step.do === 'wake') page.feed.wake('shown');
          }
          if (step.do === 'close' && isAwake) pages = pages.filter((other) => other !== page);
          pages = pages.filter(({ tab }) => tab.life !== 'dead');
          if (pages.length === 0) pages.push(openOne(['a']));
        }
        inBrowser.losing = 0;
        ofLog.isFailing = false;
        for (const { tab, feed } of pages) {
          tab.thaw();
          feed.come();
        }
        await inBrowser.pass(20_000);
        for (const room of ['a', 'b', 'c']) ofLog.post(room);
        await inBrowser.pass(1000);
        for (const page of pages) page.check();
        expect(ofLog.connections).toBe(1);
        expect(pages.filter(({ feed }) => feed.isLeading)).toHaveLength(1);
      }),
      { numRuns: 40 },
    );
  });
});

describe('a tab that can’t share has a connection of its own, and says why', () => {
  const storage = () => browser.storage;
  test.each([
    ['no-channel', () => ({ BroadcastChannel: undefined, locks: {} as never })],
    ['no-leader', () => ({})],
    ['denied', () => ({ storage: Object.assign(storage(), { isDenied: true }) })],
    ['denied', () => ({ storage: Object.assign(storage(), { isFull: true }) })],
  ] as const)('%s', async (apart, means) => {
    const pages = [new Page(browser, log, ['lobby'], means()), new Page(browser, log, ['lobby'], means())];
    await browser.pass(100);
    log.post('lobby');
    await browser.pass(100);
    expect(log.connections).toBe(2);
    for (const page of pages) {
      page.check();
      expect(page.feed.apart).toBe(apart);
      page.feed.leave();
      page.feed.come();
    }
    log.post('lobby');
    await browser.pass(100);
    for (const page of pages) page.check();
    for (const { feed } of pages) feed.close();
    expect(log.connections).toBe(0);
  });

  test('also when storage is denied only later', async () => {
    const pages = [1, 2].map(() => new Page(browser, log, ['lobby'], { storage: browser.storage }));
    await browser.pass(1000);
    browser.storage.isDenied = true;
    log.post('lobby');
    await browser.pass(4000);
    for (const page of pages) page.check();
    expect(log.connections).toBe(2);
    expect(pages.map(({ feed }) => feed.apart)).toEqual(['denied', 'denied']);
  });
});
