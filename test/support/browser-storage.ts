/** A localStorage as browsers have it, for tests without one. `isDenied`: it refuses, as in some private windows. */
export class FakeStorage {
  readonly #values = new Map<string, string>();
  isDenied = false;
  isFull = false;

  #check(isWrite = false): void {
    if (this.isDenied) throw new Error('SecurityError');
    if (this.isFull && isWrite) throw new Error('QuotaExceededError');
  }

  get length(): number {
    this.#check();
    return this.#values.size;
  }

  key(index: number): string | null {
    this.#check();
    return [...this.#values.keys()][index] ?? null;
  }

  getItem(key: string): string | null {
    this.#check();
    return this.#values.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.#check(true);
    this.#values.set(key, value);
  }

  removeItem(key: string): void {
    this.#check();
    this.#values.delete(key);
  }
}
