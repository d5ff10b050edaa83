interface Kept<T> {
  readonly at: number;
  readonly session: Promise<T | undefined>;
  /** Undefined while it is being read. */
  read?: T;
}

interface Keeping {
  /** For so long it is kept whatever happens: no longer than a log-out may take to be heard everywhere. */
  readonly unheardMs: number;
  /** For so long while the journal is heard, which tells of every log-out. */
  readonly heardMs: number;
  readonly most: number;
}

/**
 * What was read of sessions, kept so that one that asks a lot is read once. Dropped at once by the journal's own word
 * that the session ended; a reading under way then is as stale as one that is kept.
 */
export class SessionCache<T> {
  /** How often the answer was kept, and how often it had to be read. */
  readonly counts = { kept: 0, read: 0 };
  readonly #read: (sid: string) => Promise<T | undefined>;
  readonly #keeping: Keeping;
  /** By a name that isn't the session's secret; oldest first. */
  readonly #kept = new Map<string, Kept<T>>();
  #sweep: NodeJS.Timeout | undefined;

  constructor(read: (sid: string) => Promise<T | undefined>, keeping: Keeping) {
    this.#read = read;
    this.#keeping = keeping;
  }

  /**
   * The session as it was lately; undefined if there is none. `isHeard`: the journal is being read. Rejects if it can't be
   * told now.
   */
  get(name: string, sid: string, isHeard: boolean): Promise<T | undefined> {
    const { unheardMs, heardMs, most } = this.#keeping;
    const now = performance.now();
    const kept = this.#kept.get(name);
    if (kept && now - kept.at < (isHeard ? heardMs : unheardMs)) {
      this.counts.kept++;
      return kept.session;
    }
    this.counts.read++;
    this.#kept.delete(name);
    const reading: Kept<T> = { at: now, session: this.#fill(name, sid, isHeard, () => reading) };
    this.#kept.set(name, reading);
    if (this.#kept.size > most) this.#kept.delete(this.#kept.keys().next().value as string);
    this.#sweep ??= setTimeout(this.#dropOld, heardMs).unref();
    return reading.session;
  }

  drop(name: string): void {
    this.#kept.delete(name);
  }

  /** Drops those that this is true of, and those that it can't be told of yet. */
  dropEach(isMeant: (session: T) => boolean): void {
    for (const [name, { read }] of this.#kept) {
      if (read === undefined || isMeant(read)) this.#kept.delete(name);
    }
  }

  /** What ended meanwhile may not have been heard. */
  clear(): void {
    this.#kept.clear();
  }

  /** Neither nobody nor a failure is kept. Who asked before the session was dropped is told what there is after that. */
  async #fill(name: string, sid: string, isHeard: boolean, self: () => Kept<T>): Promise<T | undefined> {
    let session: T | undefined;
    try {
      session = await this.#read(sid);
    } finally {
      if (session === undefined && this.#kept.get(name) === self()) this.#kept.delete(name);
    }
    if (session === undefined) return undefined;
    self().read = session;
    return this.#kept.get(name) === self() ? session : this.get(name, sid, isHeard);
  }

  /** So that a quiet process holds none. */
  readonly #dropOld = (): void => {
    const now = performance.now();
    for (const [name, { at }] of this.#kept) {
      if (now - at < this.#keeping.heardMs) break;
      this.#kept.delete(name);
    }
    this.#sweep =
      this.#kept.size === 0 ? undefined : setTimeout(this.#dropOld, this.#keeping.heardMs).unref();
  };
}
