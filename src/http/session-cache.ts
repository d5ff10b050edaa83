/** So often what is too old is looked for in the time that something is kept. */
const SWEEPS = 4;

interface Kept<T> {
  /** When its reading began. */
  readonly at: number;
  readonly session: Promise<T | undefined>;
  readonly read: T;
}

interface Reading<T> extends Omit<Kept<T>, 'read'> {
  /** It was dropped meanwhile, … */
  isStale: boolean;
  /** … or is, if this is true of what is read. */
  readonly doubts: ((session: T) => boolean)[];
}

interface Keeping {
  /** For so long it is kept whatever happens: no longer than a log-out may take to be heard everywhere. */
  readonly unheardMs: number;
  /** For so long while the journal is heard, which tells of every log-out. */
  readonly heardMs: number;
  readonly most: number;
}

/**
 * What was read of sessions (`T`), kept so that one that asks a lot is read once. Dropped at once by the journal's own word
 * that the session ended; a reading under way then is as stale as one that is kept.
 */
export class SessionCache<T> {
  /** How often the answer was kept, and how often it had to be read. */
  readonly counts = { kept: 0, read: 0 };
  readonly #read: (sid: string, name: string) => Promise<T | undefined>;
  readonly #keeping: Keeping;
  /** By a name that isn't the session's secret; about the oldest first. */
  readonly #kept = new Map<string, Kept<T>>();
  /** Never given up for others, since nothing could be dropped that isn't here. */
  readonly #reading = new Map<string, Reading<T>>();
  #sweep: NodeJS.Timeout | undefined;

  constructor(read: (sid: string, name: string) => Promise<T | undefined>, keeping: Keeping) {
    this.#read = read;
    this.#keeping = keeping;
  }

  /**
   * The session as it was lately; undefined if there is none. `isHeard`: the journal is being read. Rejects if it can't be
   * told now.
   */
  get(name: string, sid: string, isHeard: boolean): Promise<T | undefined> {
    const { unheardMs, heardMs } = this.#keeping;
    const now = performance.now();
    const known = this.#kept.get(name) ?? this.#reading.get(name);
    if (known && now - known.at < (isHeard ? heardMs : unheardMs)) {
      this.counts.kept++;
      return known.session;
    }
    this.counts.read++;
    this.drop(name);
    const reading: Reading<T> = {
      at: now,
      session: this.#fill(name, sid, isHeard, () => reading),
      isStale: false,
      doubts: [],
    };
    this.#reading.set(name, reading);
    return reading.session;
  }

  drop(name: string): void {
    this.#kept.delete(name);
    const reading = this.#reading.get(name);
    if (reading) reading.isStale = true;
  }

  /** Drops those that this is true of; of those under way it is asked once they are read. */
  dropEach(isMeant: (session: T) => boolean): void {
    for (const [name, { read }] of this.#kept) if (isMeant(read)) this.#kept.delete(name);
    for (const { doubts } of this.#reading.values()) doubts.push(isMeant);
  }

  /** What ended meanwhile may not have been heard. */
  clear(): void {
    this.#kept.clear();
    for (const reading of this.#reading.values()) reading.isStale = true;
  }

  /** Neither nobody nor a failure is kept. Who asked before the session was dropped is told what there is after that. */
  async #fill(name: string, sid: string, isHeard: boolean, self: () => Reading<T>): Promise<T | undefined> {
    let read: T | undefined;
    try {
      read = await this.#read(sid, name);
    } finally {
      if (this.#reading.get(name) === self()) this.#reading.delete(name);
    }
    if (read === undefined) return undefined;
    const session = read;
    const { at, isStale, doubts } = self();
    if (isStale || doubts.some((isMeant) => isMeant(session))) return this.get(name, sid, isHeard);
    this.#kept.set(name, { at, session: self().session, read });
    if (this.#kept.size > this.#keeping.most) this.#kept.delete(this.#kept.keys().next().value as string);
    this.#sweep ??= this.#sweepLater();
    return session;
  }

  /** So that a quiet process holds none, a while after they are too old. */
  readonly #dropOld = (): void => {
    const now = performance.now();
    for (const [name, { at }] of this.#kept) {
      if (now - at < this.#keeping.heardMs) break;
      this.#kept.delete(name);
    }
    this.#sweep = this.#kept.size === 0 ? undefined : this.#sweepLater();
  };

  #sweepLater(): NodeJS.Timeout {
    return setTimeout(this.#dropOld, this.#keeping.heardMs / SWEEPS).unref();
  }
}
