import { type RoomKey, siteOf } from '../chat/rooms.ts';
import type { SiteName } from '../chat/sites.ts';
import type { Address } from '../log/keys.ts';
import { Audience, type Seat, type SiteReaders } from './audience.ts';
import type { Reader } from './reader.ts';

/** Who in this process reads which address. */
export class Hub {
  readonly #audiences = new Map<Address, Audience>();
  readonly #sites = new Map<SiteName, SiteReaders>();
  /** At all other addresses: most, a session's or a user's, have one reader, which needs no set. */
  readonly #readers = new Map<Address, Reader | Set<Reader>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Those who read a room, for somebody who enters. */
  audienceFor(room: RoomKey): Audience {
    const known = this.#audiences.get(`room:${room}`);
    if (known !== undefined) return known;
    const site = this.#siteReaders(siteOf(room));
    const audience = new Audience(room, site);
    site.audiences.add(audience);
    this.#audiences.set(audience.address, audience);
    return audience;
  }

  #siteReaders(site: SiteName): SiteReaders {
    const known = this.#sites.get(site);
    if (known !== undefined) return known;
    const readers = { site, audiences: new Set<Audience>(), guests: 0 };
    this.#sites.set(site, readers);
    return readers;
  }

  /** Has a reader hear what is said in its room, and in those of its further seats. */
  enter(reader: Reader, further: readonly Seat[]): void {
    this.#size++;
    reader.audience.enter(reader);
    for (const seat of further) seat.audience.enter(seat);
  }

  /** Has a reader hear what is said to an address that isn't a room's. */
  listen(reader: Reader, address: Address): void {
    const here = this.#readers.get(address);
    if (here === undefined) this.#readers.set(address, reader);
    else if (here instanceof Set) here.add(reader);
    else if (here !== reader) this.#readers.set(address, new Set([here, reader]));
  }

  unlisten(reader: Reader, address: Address): void {
    const here = this.#readers.get(address);
    if (here instanceof Set) here.delete(reader);
    const isLast = here instanceof Set ? here.size === 0 : here === reader;
    if (isLast) this.#readers.delete(address);
  }

  /** From now on it hears nothing in its rooms. */
  leave(reader: Reader, further: readonly Seat[]): void {
    this.#size--;
    this.#leave(reader);
    for (const seat of further) this.#leave(seat);
  }

  #leave(seat: Seat): void {
    const { audience } = seat;
    audience.leave(seat);
    if (!audience.isEmpty) return;
    this.#audiences.delete(audience.address);
    const { site, audiences } = audience.site;
    audiences.delete(audience);
    if (audiences.size === 0) this.#sites.delete(site);
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

  /** Whether anybody reads at a site. */
  isRead(site: SiteName): boolean {
    return this.#sites.has(site);
  }

  /** Who reads at a site, or is about to: it may not be known yet who that is. */
  *atSite(site: SiteName): Iterable<Reader> {
    for (const audience of this.#sites.get(site)?.audiences ?? []) yield* audience.readers();
  }

  /** The guests among those who read at a site. */
  *guestsAt(site: SiteName): Iterable<Reader> {
    if (this.#sites.get(site)?.guests === 0) return;
    for (const reader of this.atSite(site)) if (reader.isGuest) yield reader;
  }

  /** Who reads in this process, or is about to. */
  *everyone(): Iterable<Reader> {
    for (const audience of this.#audiences.values()) yield* audience.readers();
  }
}
