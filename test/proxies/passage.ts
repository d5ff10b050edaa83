import type { CutKind, Habits } from './habits.ts';

const LOOK_EVERY_MS = 50;

/** Where an answer goes to. */
export interface Destination {
  /** Sends status and headers. */
  begin(): void;
  write(chunk: Buffer): void;
  end(): void;
  cut(how: CutKind): void;
}

/** An answer's way through the proxy. The habits are looked up anew each time, so that they can change meanwhile. */
export class Passage {
  readonly #outlet: Destination;
  readonly #habits: () => Habits;
  readonly #startedAt: number;
  readonly #timer: NodeJS.Timeout;
  #lastAt: number;
  #held: Buffer[] = [];
  #passedBytes = 0;
  #hasBegun = false;
  #hasEnded = false;
  #isInBlackHole = false;

  constructor(outlet: Destination, habits: () => Habits, startedAt: number) {
    this.#outlet = outlet;
    this.#habits = habits;
    this.#startedAt = startedAt;
    this.#lastAt = performance.now();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** The answer's headers are here. */
  open(): void {
    this.#look();
    if (this.#habits().hold !== 'answer') this.#begin();
  }

  /** Whether the client will never hear anything any more. */
  get isSwallowed(): boolean {
    return this.#isInBlackHole;
  }

  feed(chunk: Buffer): void {
    this.#look();
    if (this.#hasEnded || this.#isInBlackHole) return;
    this.#lastAt = performance.now();
    const { hold } = this.#habits();
    if (hold === 'answer' || hold === 'body') {
      this.#held.push(chunk);
    } else if (hold === 'writes') {
      this.#passHeld();
      this.#held.push(chunk);
    } else if (typeof hold === 'number') {
      const all = Buffer.concat([...this.#held, chunk]);
      const whole = all.length - (all.length % hold);
      this.#held = [all.subarray(whole)];
      if (whole > 0) this.#pass(all.subarray(0, whole));
    } else {
      this.#passHeld();
      this.#pass(chunk);
    }
  }

  /** The service has said all it had to say. */
  end(): void {
    this.#look();
    if (this.#hasEnded || this.#isInBlackHole) return;
    this.#begin();
    this.#passHeld();
    if (this.#hasEnded) return;
    this.stop();
    this.#outlet.end();
  }

  /** The service has gone in the middle of it. */
  fail(): void {
    this.#look();
    if (!this.#hasEnded && !this.#isInBlackHole) this.#cut('torn');
  }

  stop(): void {
    this.#hasEnded = true;
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#hasEnded || this.#isInBlackHole) return;
    const { blackHoleAfterMs = Number.POSITIVE_INFINITY, cut } = this.#habits();
    const now = performance.now();
    const ageMs = now - this.#startedAt;
    if (ageMs >= blackHoleAfterMs) {
      this.#isInBlackHole = true;
      clearInterval(this.#timer);
    } else if (
      cut &&
      (ageMs >= (cut.afterMs ?? Infinity) || now - this.#lastAt >= (cut.idleMs ?? Infinity))
    ) {
      this.#cut(cut.how);
    }
  }

  #passHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) this.#pass(chunk);
  }

  #pass(chunk: Buffer): void {
    if (this.#hasEnded || chunk.length === 0) return;
    this.#begin();
    const { cut, maxAnswerBytes = Infinity } = this.#habits();
    const room = Math.min(cut?.bytes ?? Infinity, maxAnswerBytes) - this.#passedBytes;
    const part = chunk.length <= room ? chunk : chunk.subarray(0, Math.max(room, 0));
    this.#passedBytes += part.length;
    if (part.length > 0) this.#outlet.write(part);
    if (part !== chunk) this.#cut(cut?.how ?? 'torn');
  }

  #begin(): void {
    if (this.#hasBegun || this.#hasEnded || this.#isInBlackHole) return;
    this.#hasBegun = true;
    this.#outlet.begin();
  }

  #cut(how: CutKind): void {
    if (how !== 'torn') this.#begin();
    this.stop();
    this.#outlet.cut(how);
  }
}
