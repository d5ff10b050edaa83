import type { HelloNotice } from '../chat/entries.ts';
import { jittered } from '../log/jitter.ts';
import { Frame } from './frame.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Ending, Reader } from './reader.ts';

/** What a lasting stream takes beside its news. */
export interface StreamSink {
  readonly isFull: boolean;
  notice(frame: Frame): void;
  /** Writes filler that means nothing, for proxies that hold a stream's beginning back. */
  pad(): void;
}

interface PulseOptions {
  readonly nonce: string;
  readonly heartbeatMs: number;
  /** How long a confirmation holds. */
  readonly leaseMs: number;
  readonly maxAgeMs: number;
  readonly byeSpreadMs: number;
  readonly heartbeats: Heartbeats;
  /** For streams that their client confirms: how soon at first, and whether it has. */
  readonly confirmation?: { readonly withinMs: number; isConfirmed(): Promise<boolean> } | undefined;
}

/** When a stream's filler comes. */
export const PAD_AFTER_MS = 100;
/** When the heartbeat comes that proves a stream. */
export const PROOF_AFTER_MS = 500;
/** Timers of one length share a list in Node: of thousands of streams, few have one of their own. */
const STEP_MS = 10;
const MIN_RECONNECT_MS = 500;
const RECONNECT_SPREAD_MS = 1000;
const HEARTBEATS_A_CONFIRMATION = 3;
const CONFIRMATIONS_A_LEASE = 2;

/**
 * What makes a stream provable: `hello` at once, filler after 100 ms where it is of use, a first heartbeat after 500 ms that proves events
 * come through singly, then a heartbeat whenever it was quiet for an interval. Ends what is too old or unconfirmed.
 */
export class Pulse {
  readonly #reader: Reader;
  readonly #sink: StreamSink;
  readonly #options: PulseOptions;
  /** Its life was reckoned from here. */
  readonly #madeAt = performance.now();
  #helloAt = 0;
  readonly #lifeMs: number;
  #confirmBy: number;
  #beats = 0;
  /** Redis was away when it was asked last: its confirmations may have run out, and nobody could renew them. */
  #mayHaveLost = false;
  #timer: NodeJS.Timeout | undefined;
  /** How long the timer of the last beat ran; 0 before the first. */
  #waitMs = 0;

  constructor(reader: Reader, sink: StreamSink, options: PulseOptions) {
    this.#reader = reader;
    this.#sink = sink;
    this.#options = options;
    this.#lifeMs = jittered(options.maxAgeMs, 0.8, 1.2);
    this.#confirmBy = options.confirmation?.withinMs ?? Number.POSITIVE_INFINITY;
  }

  /** Says `hello`; `cursor` is the one resumed from. */
  start(cursor: string | undefined): void {
    this.#helloAt = performance.now();
    const hello: HelloNotice = {
      kind: 'hello',
      nonce: this.#options.nonce,
      heartbeat: this.#options.heartbeatMs,
      lease: this.#options.leaseMs,
    };
    const retryMs = MIN_RECONNECT_MS + jittered(RECONNECT_SPREAD_MS, 0, 1);
    this.#sink.notice(new Frame('hello', JSON.stringify(hello), { cursor, retryMs, isKept: false }));
  }

  /** After `start`, once what there was to tell at first has been told: from now on filler, if it is of use, and heartbeats come. */
  settle(needsPadding: boolean): void {
    if (this.#reader.ended) return;
    if (!needsPadding) return this.#beatAfter(PROOF_AFTER_MS);
    this.#timer = setTimeout(() => {
      this.#sink.pad();
      this.#beatAfter(PROOF_AFTER_MS - PAD_AFTER_MS);
    }, PAD_AFTER_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #beat(): void {
    if (this.#reader.ended) return;
    const now = performance.now();
    const age = now - this.#helloAt;
    const leftMs = this.#lifeMs - (now - this.#madeAt);
    if (leftMs <= 0) return this.#reader.end(this.#comeBack('max_age'));
    if (age >= this.#confirmBy) void this.#askForConfirmation(age);
    const quietMs = now - this.#reader.toldAt;
    const isDue = this.#beats === 0 || quietMs >= this.#options.heartbeatMs;
    // The first one proves the stream, also to whoever still catches up: behind what is on its way it comes before all else.
    if (isDue && (this.#beats === 0 || !this.#sink.isFull)) {
      const { isLevel, cursor } = this.#reader;
      this.#sink.notice(this.#options.heartbeats.frame(++this.#beats, isLevel ? cursor : undefined));
    }
    const nextMs = isDue ? this.#options.heartbeatMs : this.#options.heartbeatMs - quietMs;
    const waitMs = Math.max(1, Math.min(nextMs, this.#confirmBy - age, leftMs));
    this.#beatAfter(Math.ceil(waitMs / STEP_MS) * STEP_MS);
  }

  /** Most wait as long as the last time, and need no timer of their own for it. */
  #beatAfter(waitMs: number): void {
    if (waitMs === this.#waitMs) this.#timer?.refresh();
    else this.#timer = setTimeout(() => this.#beat(), waitMs);
    this.#waitMs = waitMs;
  }

  async #askForConfirmation(age: number): Promise<void> {
    const { heartbeatMs, leaseMs } = this.#options;
    // Whoever has crashed behind a proxy that goes on drinking is thus read to for a lease and a half at most.
    this.#confirmBy =
      age + Math.min(HEARTBEATS_A_CONFIRMATION * heartbeatMs, leaseMs / CONFIRMATIONS_A_LEASE);
    try {
      const isConfirmed = (await this.#options.confirmation?.isConfirmed()) !== false;
      if (!isConfirmed && !this.#mayHaveLost) return this.#reader.end(this.#comeBack('not_confirmed'));
      // Clients confirm every third of a lease: by then they have had the time to.
      if (!isConfirmed) this.#confirmBy = Math.max(this.#confirmBy, age + leaseMs / CONFIRMATIONS_A_LEASE);
      this.#mayHaveLost = false;
    } catch {
      // Nobody can confirm, so nobody is blamed.
      this.#mayHaveLost = true;
    }
  }

  #comeBack(code: Ending['code']): Ending {
    return { code, retryMs: jittered(this.#options.byeSpreadMs, 0, 1) };
  }
}
