/** What this process has read of one session. */
interface Kept<T> {
  readonly at: number;
  readonly session: Promise<T | undefined>;
}

/**
 * What was read of sessions, kept for a moment so that one that asks a lot is read once. Dropped at once by the
 * journal's own word that the session ended; a reading under way then is as stale as one that is kept.
 */
export class SessionCache<T> {
  /** How often the answer was kept, and how often it had to be read. */
  readonly counts = { kept: 0, read: 0 };
  readonly #read: (sid: string) => Promise<T | undefined>;
  readonly #keepMs: number;
  readonly #maxKept: number;
  /** By a name that isn't the session's secret; oldest first. */
  readonly #kept = new Map<string, Kept<T>>();

  constructor(read: (sid: string) => Promise<T | undefined>, keepMs: number, maxKept: number) {
    this.#read = read;
    this.#keepMs = keepMs;
    this.#maxKept = maxKept;
  }

  /** The session as it was within the last moment; undefined if there is none. Rejects if that can't be told now. */
  get(name: string, sid: string): Promise<T | undefined> {
    const now = performance.now();
    for (const [oldest, { at }] of this.#kept) {
      if (now - at < this.#keepMs && this.#kept.size <= this.#maxKept) break;
      this.#kept.delete(oldest);
    }
    const kept = this.#kept.get(name);
    if (kept) {
      this.counts.kept++;
      return kept.session;
    }
    this.counts.read++;
    const reading: Kept<T> = { at: now, session: this.#fill(name, sid, () => reading) };
    this.#kept.set(name, reading);
    return reading.session;
  }

  drop(name: string): void {
    this.#kept.delete(name);
  }

  /** What ended meanwhile may not have been heard. */
  clear(): void {
    this.#kept.clear();
  }

  /** Neither nobody nor a failure is kept. Who asked before the session was dropped is told what there is after that. */
  async #fill(name: string, sid: string, self: () => Kept<T>): Promise<T | undefined> {
    let session: T | undefined;
    try {
      session = await this.#read(sid);
    } finally {
      if (session === undefined && this.#kept.get(name) === self()) this.#kept.delete(name);
    }
    return session === undefined || this.#kept.get(name) === self() ? session : this.#read(sid);
  }
}
