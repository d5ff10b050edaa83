import type { RoomKey } from '../chat/rooms.ts';
import type { Address } from '../log/keys.ts';
import type { Reader } from './reader.ts';

/** Who in this process reads which address. */
export class Hub {
  readonly #readers = new Map<Address, Set<Reader>>();
  readonly #everyone = new Set<Reader>();
  readonly #lists = new Map<Address, readonly RoomKey[]>();

  get size(): number {
    return this.#everyone.size;
  }

  /** The same list for all who read one room alone: to tell thousands must not touch a copy for each. */
  listOf(rooms: readonly RoomKey[]): readonly RoomKey[] {
    if (rooms.length !== 1) return rooms;
    const address: Address = `room:${rooms[0] as RoomKey}`;
    const known = this.#lists.get(address);
    if (known === undefined) this.#lists.set(address, rooms);
    return known ?? rooms;
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
      if (readers?.size !== 0) continue;
      this.#readers.delete(address);
      this.#lists.delete(address);
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
