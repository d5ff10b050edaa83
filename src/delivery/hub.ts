import type { Address } from '../log/keys.ts';
import type { Reader } from './reader.ts';

/** Who in this process reads which address. */
export class Hub {
  readonly #readers = new Map<Address, Set<Reader>>();
  readonly #everyone = new Set<Reader>();

  get size(): number {
    return this.#everyone.size;
  }

  enter(reader: Reader, addresses: readonly Address[]): void {
    this.#everyone.add(reader);
    for (const address of addresses) {
      let readers = this.#readers.get(address);
      if (readers === undefined) {
        readers = new Set();
        this.#readers.set(address, readers);
      }
      readers.add(reader);
    }
  }

  leave(reader: Reader, addresses: readonly Address[]): void {
    this.#everyone.delete(reader);
    for (const address of addresses) {
      const readers = this.#readers.get(address);
      readers?.delete(reader);
      if (readers?.size === 0) this.#readers.delete(address);
    }
  }

  at(address: Address): Iterable<Reader> {
    return this.#readers.get(address) ?? [];
  }

  isEmpty(address: Address): boolean {
    return !this.#readers.has(address);
  }

  everyone(): Iterable<Reader> {
    return this.#everyone;
  }
}
