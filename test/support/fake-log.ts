import type { Feed, FeedListener, News } from '../../src/browser/feed.ts';
import type { Missed } from '../../src/browser/keep-up.ts';
import type { FakeTab } from './fake-browser.ts';

const ANSWER_MS = 20;
const HEARTBEAT_MS = 2000;
const PAGE = 3;

/** A service reduced to its log: what was said in which room, and connections that tell it. */
export class FakeLog {
  #entries: { n: number; room: string }[] = [];
  #epoch = 'e1';
  #lastN = 0;
  readonly #feeds = new Set<{ tab: FakeTab; news: () => void }>();
  readonly asked: string[] = [];
  polls = 0;
  /** The rooms that were last asked for. */
  followed: readonly string[] = [];
  isFailing = false;

  get cursor(): string {
    return `${this.#epoch}.${this.#entries.at(-1)?.n ?? 0}-0`;
  }

  post(room: string): void {
    this.#entries.push({ n: ++this.#lastN, room });
    for (const { tab, news } of this.#feeds) tab.later(ANSWER_MS, news);
  }

  /** The newest entries were lost. Unless it is an older file, the history has another name now. */
  rollBack(lost: number, isOlderFile: boolean): void {
    this.#entries.splice(-lost);
    if (!isOlderFile) this.#epoch = `${this.#epoch}x`;
    for (const { tab, news } of this.#feeds) tab.later(ANSWER_MS, news);
  }

  /** Ids of what was said in these rooms after a cursor of this history. */
  idsAfter(rooms: readonly string[], cursor: string): string[] {
    return this.#after(rooms, cursor).map(({ n }) => `${n}-0`);
  }

  /** Connections of tabs that run. */
  get connections(): number {
    return [...this.#feeds].filter(({ tab }) => tab.life === 'running').length;
  }

  #after(rooms: readonly string[], cursor: string) {
    const after = Number(cursor.split('.')[1]?.split('-')[0]);
    return this.#entries.filter(({ n, room }) => n > after && rooms.includes(room));
  }

  #vouchesFor(cursor: string): boolean {
    const known = [0, ...this.#entries.map(({ n }) => n)];
    return known.some((n) => cursor === `${this.#epoch}.${n}-0`);
  }

  #read(rooms: readonly string[], after: string, limit: number): Missed {
    if (!this.#vouchesFor(after)) {
      const from = `${this.#epoch}.0-0`;
      const events = rooms.map((room, index) => ({
        event: { kind: 'gap', room, after, oldest: null, reason: 'rollback' } as unknown as News,
        cursor: index === rooms.length - 1 ? from : undefined,
      }));
      return { events, cursor: from, more: true };
    }
    const found = this.#after(rooms, after);
    const events = found.slice(0, limit).map(({ n, room }) => ({
      event: { kind: 'message', room, id: `${n}-0` } as unknown as News,
      cursor: `${this.#epoch}.${n}-0`,
    }));
    const more = found.length > limit;
    return { events, cursor: more ? (events.at(-1)?.cursor as string) : this.cursor, more };
  }

  catchUp(tab: FakeTab, rooms: readonly string[], after: string): Promise<Missed> {
    this.polls++;
    return new Promise((resolve, reject) => {
      tab.later(ANSWER_MS / 2, () => {
        const page = this.#read(rooms, after, PAGE);
        tab.later(ANSWER_MS / 2, () => (this.isFailing ? reject(new Error('unreachable')) : resolve(page)));
      });
    });
  }

  /** Opens a connection from a tab. It tells what it finds, and every two seconds where it stands. */
  open(tab: FakeTab, listener: FeedListener): Feed {
    let follows = 0;
    let rooms: readonly string[] = [];
    let cursor = '';
    let isLive = false;
    const connection = {
      tab,
      news: () => {
        if (!isLive || !this.#feeds.has(connection)) return;
        for (;;) {
          const page = this.#read(rooms, cursor, Number.POSITIVE_INFINITY);
          for (const told of page.events) {
            if (!isLive || !this.#feeds.has(connection)) return;
            cursor = told.cursor ?? cursor;
            listener.told(told.event, told.cursor);
          }
          cursor = page.cursor;
          if (!page.more) return;
        }
      },
    };
    const beat = () => {
      if (!this.#feeds.has(connection)) return;
      connection.news();
      if (isLive) listener.told(undefined, cursor);
      tab.later(HEARTBEAT_MS, beat);
    };
    this.#feeds.add(connection);
    tab.later(HEARTBEAT_MS, beat);
    return {
      follow: (these, after) => {
        [rooms, cursor, isLive] = [these, after, false];
        this.followed = these;
        const mine = ++follows;
        tab.later(ANSWER_MS, () => {
          if (mine !== follows || !this.#feeds.has(connection)) return;
          isLive = true;
          listener.state({ phase: 'live', carrier: 'sse', why: 'best', latencyMs: undefined });
          connection.news();
        });
      },
      expect: (id) => this.asked.push(`expect ${id}`),
      wake: (why) => this.asked.push(`wake ${why}`),
      rest: (isHidden) => this.asked.push(`rest ${isHidden}`),
      close: () => void this.#feeds.delete(connection),
    };
  }

  /** A crashed tab's connection ends with it. */
  drop(tab: FakeTab): void {
    for (const feed of this.#feeds) if (feed.tab === tab) this.#feeds.delete(feed);
  }
}
