import type { WireEvent } from '../chat/entries.ts';
import { type Access, ask } from './ask.ts';
import type { Asking, OpenLine, WebSocketLike } from './carrier.ts';
import { isToldAt } from './cursors.ts';
import type { CarrierName, Feed, FeedListener, News, State } from './feed.ts';
import { openStream } from './fetch-stream.ts';
import {
  carrying,
  type Fact,
  type Ladder,
  type Line,
  type LineEnd,
  ladderOf,
  lineOf,
  linesOf,
  reasonOf,
  step,
  type Verdicts,
} from './ladder.ts';
import { openPoll } from './poll.ts';
import { firstHold } from './poll-hold.ts';
import { Progress } from './progress.ts';
import { openSocket } from './socket.ts';

/** Where verdicts on carriers are kept between visits. */
export type Memory = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

export interface ConnectionOptions {
  readonly access: Access;
  readonly WebSocket: WebSocketLike | undefined;
  readonly carriers: readonly CarrierName[];
  readonly heartbeatMs: number | undefined;
  readonly memory: Memory | undefined;
}

/** A line of the ladder that is open. */
interface Opened {
  readonly line: Line;
  readonly open: OpenLine;
  /** What it has told up to, whether or not it was new. */
  toldTo: string;
  isLevel: boolean;
  /** How long it last took to bring something that wasn't waited for. */
  latencyMs?: number;
  nonce?: string;
  leaseMs?: number;
  confirmAt?: number;
}

const MEMORY_KEY = 'throughline:carriers';
const SHORT_POLL_MS = 2000;
const SHORT_POLL_HIDDEN_MS = 10_000;
/** Clients on polls keep their session alive by this. */
const RENEW_MS = 240_000;
/** Well within the time that the service waits for a confirmation. */
const CONFIRM_AGAIN_MS = 2000;
/** A line lost and found again within this isn't worth a word. */
const BLINK_MS = 1500;
/** Told nothing for so long, a line that came back counts as told everything. */
const LEVEL_AFTER_MS = 1000;

/** A feed over connections of its own: opens and closes what the ladder says, and tells everything once and in order. */
export class Connection implements Feed {
  readonly #options: ConnectionOptions;
  readonly #listener: FeedListener;
  readonly #opened = new Map<number, Opened>();
  readonly #pace: { hold: ReturnType<typeof firstHold>; pauseMs: () => number };
  #ladder: Ladder;
  #progress: Progress | undefined;
  #rooms: readonly string[] = [];
  #posted: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewing: ReturnType<typeof setInterval> | undefined;
  #state: State = { phase: 'connecting' };
  #lostAt: number | undefined;
  #levelTimer: ReturnType<typeof setTimeout> | undefined;
  #blinkTimer: ReturnType<typeof setTimeout> | undefined;
  /** When the steady clock began, as far as is known. */
  #since = 0;
  #isClosed = false;

  constructor(options: ConnectionOptions, listener: FeedListener) {
    this.#options = options;
    this.#listener = listener;
    const { heartbeatMs } = options;
    this.#ladder = ladderOf(options.carriers, { verdicts: this.#remembered(), heartbeatMs });
    this.#pace = {
      hold: firstHold(heartbeatMs && heartbeatMs * 2.5),
      pauseMs: () => (this.#ladder.isHidden ? SHORT_POLL_HIDDEN_MS : SHORT_POLL_MS),
    };
  }

  follow(rooms: readonly string[], cursor: string): void {
    if (this.#isClosed) return;
    const isFirst = this.#progress === undefined;
    this.#rooms = rooms;
    this.#progress = new Progress(cursor);
    this.#closeAll();
    if (isFirst) {
      this.#renewing = setInterval(() => this.#renew(), RENEW_MS);
      this.#listener.state(this.#state);
    }
    this.#take({ fact: isFirst ? 'start' : 'rooms' });
  }

  expect(id: string): void {
    const main = this.#ladder.main && this.#opened.get(this.#ladder.main.id);
    // A line that is still telling what was missed has this to tell last.
    if (!main?.isLevel) return;
    const posted = `${main.toldTo.split('.', 1)[0]}.${id}`;
    if (isToldAt(main.toldTo, posted)) return;
    this.#posted = posted;
    this.#take({ fact: 'posted' });
  }

  wake(why: 'online' | 'shown'): void {
    if (why === 'online') this.#pace.hold = firstHold(this.#pace.hold.longestMs);
    if (this.#progress) this.#take({ fact: 'wake', why });
  }

  rest(isHidden: boolean): void {
    this.#take({ fact: 'rest', isHidden });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#levelTimer);
    clearTimeout(this.#blinkTimer);
    clearInterval(this.#renewing);
    this.#closeAll();
  }

  #closeAll(): void {
    for (const { open } of this.#opened.values()) open.close();
    this.#opened.clear();
  }

  /** Tells the ladder a fact, and makes what is open agree with what it wants. */
  #take(fact: Fact): void {
    if (this.#isClosed) return;
    const { verdicts } = this.#ladder;
    this.#ladder = step(this.#ladder, fact, this.#now(), Math.random);
    const { wakeAt } = this.#ladder;
    const wanted = linesOf(this.#ladder);
    for (const [id, { open }] of this.#opened) {
      if (wanted.some((line) => line.id === id)) continue;
      open.close();
      this.#opened.delete(id);
    }
    if (this.#progress)
      for (const line of wanted) if (!this.#opened.has(line.id)) this.#open(line, this.#progress);
    clearTimeout(this.#timer);
    if (wakeAt < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#take({ fact: 'time' }), Math.max(0, wakeAt - this.#now()));
    if (this.#ladder.verdicts !== verdicts) this.#remember();
    this.#tellState();
  }

  #open(line: Line, progress: Progress): void {
    const { access, WebSocket } = this.#options;
    const asking: Asking = {
      access,
      WebSocket,
      rooms: this.#rooms,
      after: () => progress.cursor,
      heartbeatMs: this.#ladder.heartbeatMs,
    };
    const listener = {
      event: (event: WireEvent, cursor: string | undefined) => this.#heard(line.id, event, cursor),
      answered: (cursor: string, hasMore: boolean, tookMs: number | undefined) =>
        this.#answered(line.id, cursor, hasMore, tookMs),
      ended: (end: LineEnd) => {
        if (this.#opened.delete(line.id)) this.#take({ fact: 'ended', line: line.id, end });
      },
    };
    // Whoever tries holding again starts anew.
    if (line === this.#ladder.probe && line.rung === 'long-poll')
      this.#pace.hold = { ...firstHold(this.#pace.hold.longestMs), isDripping: true };
    const toldTo = progress.cursor;
    try {
      const open = this.#carrier(line.rung, asking, listener);
      this.#opened.set(line.id, { line, open, toldTo, isLevel: false });
    } catch {
      // What this browser denies is as if something on the way did.
      this.#opened.set(line.id, { line, open: { close() {} }, toldTo, isLevel: false });
      setTimeout(() => listener.ended({ how: 'foreign' }));
    }
  }

  #carrier(rung: CarrierName, asking: Asking, listener: Parameters<typeof openPoll>[3]): OpenLine {
    switch (rung) {
      case 'sse':
      case 'post-stream':
        return openStream(rung === 'post-stream', asking, listener);
      case 'websocket':
        return openSocket(asking.WebSocket as WebSocketLike, asking, listener);
      case 'long-poll':
      case 'short-poll':
        return openPoll(rung === 'short-poll', asking, this.#pace, listener);
      default:
        return rung satisfies never;
    }
  }

  #heard(id: number, event: WireEvent, cursor: string | undefined): void {
    const opened = this.#opened.get(id);
    if (!opened) return;
    if (cursor) opened.toldTo = cursor;
    switch (event.kind) {
      case 'hello':
        opened.nonce = event.nonce;
        opened.leaseMs = event.lease;
        opened.latencyMs = this.#now() - opened.line.openedAt;
        return this.#take({ fact: 'hello', line: id, heartbeatMs: event.heartbeat });
      case 'heartbeat':
        this.#tell(id, undefined, cursor);
        opened.isLevel ||= cursor !== undefined;
        if (!opened.isLevel) this.#levelSoon(opened);
        this.#confirm(opened);
        return this.#take({ fact: 'heard', line: id, isProof: true });
      case 'message':
      case 'presence':
      case 'closed':
      case 'gap':
        this.#tell(id, event, cursor);
        if (!opened.isLevel) this.#levelSoon(opened);
        // Where there is always news there is no heartbeat to confirm by.
        if (lineOf(this.#ladder, id)?.provenAt !== undefined) this.#confirm(opened);
        return this.#take({ fact: 'heard', line: id, isProof: false });
      case 'bye':
        return;
      default:
        event satisfies never;
    }
  }

  #answered(id: number, cursor: string, hasMore: boolean, tookMs: number | undefined): void {
    const opened = this.#opened.get(id);
    if (!opened) return;
    opened.toldTo = cursor;
    opened.isLevel = !hasMore;
    if (tookMs !== undefined) opened.latencyMs = Math.round(tookMs);
    this.#tell(id, undefined, cursor);
    this.#take({ fact: 'heard', line: id, isProof: true });
  }

  #tell(id: number, event: News | undefined, cursor: string | undefined): void {
    const progress = this.#progress;
    if (progress?.accepts(event, cursor)) {
      this.#listener.told(event, cursor);
      if (event?.kind === 'gap' && event.reason !== 'trimmed') this.#take({ fact: 'rebased', line: id });
    }
    const isMain = this.#ladder.main?.id === id;
    if (isMain && this.#posted && cursor && isToldAt(cursor, this.#posted)) {
      this.#posted = undefined;
      this.#take({ fact: 'seen' });
    }
  }

  /** A stream that goes on with what was missed has no cursor on its heartbeats; a pause says that that's all. */
  #levelSoon(opened: Opened): void {
    clearTimeout(this.#levelTimer);
    this.#levelTimer = setTimeout(() => {
      opened.isLevel = true;
      this.#tellState();
    }, LEVEL_AFTER_MS);
  }

  /** Says that the stream arrives, which renews lease and session. */
  #confirm(opened: Opened): void {
    const { nonce, leaseMs = 0, confirmAt = 0 } = opened;
    if (!nonce || this.#now() < confirmAt) return;
    opened.confirmAt = this.#now() + leaseMs / 3;
    ask(this.#options.access, '/confirm', { body: { nonce, rooms: this.#rooms } }).catch(() => {
      opened.confirmAt = 0;
      setTimeout(() => this.#opened.has(opened.line.id) && this.#confirm(opened), CONFIRM_AGAIN_MS);
    });
  }

  #renew(): void {
    if (this.#ladder.main?.rung.endsWith('poll'))
      ask(this.#options.access, '/confirm', { body: {} }).catch(() => {});
  }

  #tellState(): void {
    const state = this.#stateNow();
    if (state === undefined || JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.#listener.state(state);
  }

  /** Undefined while it isn't worth a word. */
  #stateNow(): State | undefined {
    const line = carrying(this.#ladder);
    const { main, offline, retryAt } = this.#ladder;
    if (line) {
      this.#lostAt = undefined;
      const why = reasonOf(this.#ladder, line.rung);
      const { rung: carrier } = line;
      const opened = this.#opened.get(line.id);
      if (!opened?.isLevel) return { phase: 'catching-up', carrier, why };
      return { phase: 'live', carrier, why, latencyMs: opened.latencyMs };
    }
    const now = this.#now();
    this.#lostAt ??= now;
    if (this.#state.phase === 'live' && now - this.#lostAt < BLINK_MS && !offline?.isFinal) {
      clearTimeout(this.#blinkTimer);
      this.#blinkTimer = setTimeout(() => this.#tellState(), BLINK_MS);
      return undefined;
    }
    if (!offline) return { phase: 'connecting' };
    const nextTryAt = offline.isFinal ? undefined : (retryAt ?? main?.openedAt ?? now);
    return { phase: 'offline', reason: offline.reason, nextTryAt };
  }

  /**
   * Milliseconds since 1970 by a clock that is never set back, since deadlines would be waited for as long; where the
   * steady clock stood still, as in a machine that slept, the other one tells.
   */
  #now(): number {
    const now = performance.now();
    this.#since = Math.max(this.#since, Date.now() - now);
    return this.#since + now;
  }

  #remembered(): Verdicts {
    try {
      return JSON.parse(this.#options.memory?.getItem(MEMORY_KEY) ?? '{}') as Verdicts;
    } catch {
      return {};
    }
  }

  #remember(): void {
    try {
      this.#options.memory?.setItem(MEMORY_KEY, JSON.stringify(this.#ladder.verdicts));
    } catch {
      // Storage may be full or denied; then the next visit finds out anew.
    }
  }
}
