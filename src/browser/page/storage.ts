/** What of the browser's storage the page uses. */
export interface Memory {
  get(key: string): string | undefined;
  set(key: string, value: string): void;
  remove(key: string): void;
  /** Whether the browser keeps nothing. */
  isDenied(): boolean;
}

/** All keys of the page begin so. */
export const PREFIX = 'throughline:';

/** The browser's storage; where it is denied or full, what was kept lasts as long as the page. */
export function openMemory(storage: () => Storage = () => localStorage): Memory {
  const kept = new Map<string, string | undefined>();
  const attempt = <T>(act: (storage: Storage) => T): T | undefined => {
    try {
      return act(storage());
    } catch {
      // Denied: even to look at `localStorage` may throw.
      return undefined;
    }
  };
  return {
    get: (key) =>
      kept.has(key) ? kept.get(key) : (attempt((storage) => storage.getItem(PREFIX + key)) ?? undefined),
    set(key, value) {
      const isKept = attempt((storage) => {
        storage.setItem(PREFIX + key, value);
        return true;
      });
      if (isKept) kept.delete(key);
      else kept.set(key, value);
    },
    remove(key) {
      if (attempt((storage) => [storage.removeItem(PREFIX + key)])) kept.delete(key);
      else kept.set(key, undefined);
    },
    isDenied: () =>
      attempt((storage) => [storage.setItem(`${PREFIX}try`, ''), storage.removeItem(`${PREFIX}try`)]) ===
      undefined,
  };
}

/** The part of a memory whose keys begin so. */
export function memoryWithin(memory: Memory, start: string): Memory {
  return {
    get: (key) => memory.get(start + key),
    set: (key, value) => memory.set(start + key, value),
    remove: (key) => memory.remove(start + key),
    isDenied: memory.isDenied,
  };
}

/** Reads JSON that may be missing or spoiled. */
export function readJson<T extends object>(memory: Memory, key: string): T | undefined {
  try {
    const value: unknown = JSON.parse(memory.get(key) ?? 'null');
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}
