import type { RoomKey } from '../chat/rooms.ts';
import type { Address } from '../log/keys.ts';
import type { Reader } from './reader.ts';

/** Who in this process reads which address. */
export class Hub {
  /** Most addresses, a session's or a user's, have one reader, which needs no set. */
  readonly #readers = new Map<Address, Reader | Set<Reader>>();
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
      const here = this.#readers.get(address);
      if (here === undefined) this.#readers.set(address, reader);
      else if (here instanceof Set) here.add(reader);
      else if (here !== reader) this.#readers.set(address, new Set([here, reader]));
    }
  }

  leave(reader: Reader, addresses: readonly Address[]): void {
    this.#everyone.delete(reader);
    for (const address of addresses) {
      const here = this.#readers.get(address);
      if (here instanceof Set) here.delete(reader);
      const isLast = here instanceof Set ? here.size === 0 : here === reader;
      if (!isLast) continue;
      this.#readers.delete(address);
      this.#lists.delete(address);
    }
  }

  at(address: Address): Iterable<Reader> {
    const here = this.#readers.get(address);
    if (here === undefined) return [];
    return here instanceof Set ? here : [here];
  }

  isEmpty(address: Address): boolean {
    return !this.#readers.has(address);
  }

  everyone(): Iterable<Reader> {
    return this.#everyone;
  }
}
