import type { RoomKey } from '../chat/rooms.ts';
import type { Address } from '../log/keys.ts';
import { Audience, type Seat } from './audience.ts';
import type { Reader } from './reader.ts';

/** Who in this process reads which address. */
export class Hub {
  readonly #audiences = new Map<Address, Audience>();
  /** At all other addresses: most, a session's or a user's, have one reader, which needs no set. */
  readonly #readers = new Map<Address, Reader | Set<Reader>>();
  readonly #everyone = new Set<Reader>();

  get size(): number {
    return this.#everyone.size;
  }

  /** Has a reader hear what is said in these rooms; it gets a seat in each. */
  enter(reader: Reader, rooms: readonly RoomKey[]): Seat[] {
    this.#everyone.add(reader);
    return rooms.map((room) => {
      const address: Address = `room:${room}`;
      let audience = this.#audiences.get(address);
      if (audience === undefined) {
        audience = new Audience(room);
        this.#audiences.set(address, audience);
      }
      return audience.enter(reader);
    });
  }

  /** Has a reader hear what is said to an address that isn't a room's. */
  listen(reader: Reader, address: Address): void {
    const here = this.#readers.get(address);
    if (here === undefined) this.#readers.set(address, reader);
    else if (here instanceof Set) here.add(reader);
    else if (here !== reader) this.#readers.set(address, new Set([here, reader]));
  }

  leave(reader: Reader, seats: readonly Seat[], addresses: readonly Address[]): void {
    this.#everyone.delete(reader);
    for (const seat of seats) {
      const { audience } = seat;
      audience.leave(seat);
      if (audience.isEmpty) this.#audiences.delete(audience.address);
    }
    for (const address of addresses) {
      const here = this.#readers.get(address);
      if (here instanceof Set) here.delete(reader);
      const isLast = here instanceof Set ? here.size === 0 : here === reader;
      if (isLast) this.#readers.delete(address);
    }
  }

  /** Who reads a room; undefined if nobody does. */
  audienceAt(address: Address): Audience | undefined {
    return this.#audiences.get(address);
  }

  /** Who listens at an address that isn't a room's. */
  at(address: Address): Iterable<Reader> {
    const here = this.#readers.get(address);
    if (here === undefined) return [];
    return here instanceof Set ? here : [here];
  }

  /** Whether nobody listens at an address that isn't a room's. */
  isEmpty(address: Address): boolean {
    return !this.#readers.has(address);
  }

  everyone(): Iterable<Reader> {
    return this.#everyone;
  }
}
