/** Who wants to lead the tabs, and is told how that stands. */
export interface Candidate {
  granted(): void;
  /** Another tab leads now. */
  lost(): void;
  /** It can't be settled in this browser who leads. */
  broken(): void;
}

/** How tabs settle which one of them leads. */
export interface Leadership {
  /** Asks to lead. Granted once no tab does; `byForce`: even though one does, since it has fallen silent. */
  seek(byForce: boolean): void;
  /** Whether a tab that was granted it may go on leading; what it leads by is renewed. */
  holds(): boolean;
  /** Gives it up, or stops asking for it. */
  release(): void;
}

/** What is used of a browser's LockManager. */
export interface Locks {
  request(
    name: string,
    options: { steal?: boolean; signal?: AbortSignal },
    held: () => Promise<void> | undefined,
  ): Promise<unknown>;
}

/** What is used of a browser's Storage. */
export interface LeaseStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** By a Web Lock: the browser itself hands it on when a tab closes or crashes. Secure contexts only. */
export function leadByLock(locks: Locks, name: string, candidate: Candidate): Leadership {
  let asked: AbortController | undefined;
  let letGo: (() => void) | undefined;
  const release = () => {
    asked?.abort();
    letGo?.();
    asked = letGo = undefined;
  };
  return {
    release,
    holds: () => true,
    seek(byForce) {
      if (asked && !byForce) return;
      release();
      const mine = new AbortController();
      asked = mine;
      let isHeld = false;
      const hold = () => {
        if (asked !== mine) return;
        isHeld = true;
        const held = new Promise<void>((resolve) => {
          letGo = resolve;
        });
        candidate.granted();
        return held;
      };
      // [spec] Web Locks, request(): `steal` and `signal` together are a NotSupportedError.
      locks.request(name, byForce ? { steal: true } : { signal: mine.signal }, hold).catch(() => {
        if (asked !== mine) return;
        asked = letGo = undefined;
        if (isHeld) candidate.lost();
        else candidate.broken();
      });
    },
  };
}

const LEASE_MS = 3000;
const RENEW_BEFORE_MS = 2000;
const READ_BACK_AFTER_MS = 50;

/**
 * By a lease in the storage that tabs share, for pages over plain http. Two tabs may both take it at the same moment:
 * each reads back after a while, and the one that wrote last leads.
 */
export function leadByLease(
  storage: LeaseStorage,
  key: string,
  tab: string,
  candidate: Candidate,
): Leadership {
  let readBack: ReturnType<typeof setTimeout> | undefined;
  const trying = (act: () => boolean): boolean => {
    try {
      return act();
    } catch {
      candidate.broken();
      return true;
    }
  };
  const read = () => {
    const [holder, until] = (storage.getItem(key) ?? '').split(' ');
    return { isMine: holder === tab, leftMs: Number(until ?? 0) - Date.now() };
  };
  const write = () => storage.setItem(key, `${tab} ${Date.now() + LEASE_MS}`);
  return {
    seek(byForce) {
      trying(() => {
        const { isMine, leftMs } = read();
        if (!byForce && !isMine && leftMs > 0) return false;
        write();
        clearTimeout(readBack);
        const check = () => {
          if (read().isMine) candidate.granted();
          return true;
        };
        readBack = setTimeout(() => trying(check), READ_BACK_AFTER_MS * (1 + 2 * Math.random()));
        return true;
      });
    },
    holds: () =>
      trying(() => {
        const { isMine, leftMs } = read();
        if (!isMine && leftMs > 0) return false;
        if (!isMine || leftMs < RENEW_BEFORE_MS) write();
        return true;
      }),
    release() {
      clearTimeout(readBack);
      try {
        if (read().isMine) storage.removeItem(key);
      } catch {
        // What can't be reached can't be given back: it runs out.
      }
    },
  };
}
