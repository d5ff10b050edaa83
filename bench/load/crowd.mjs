// All readers of a run, by room, and what has been posted and has arrived. Every message bears a number; some readers keep
// what they get and are checked against those numbers at the end.
import { setTimeout as pause } from 'node:timers/promises';
import { Requester } from './requester.mjs';

/** Fewer than a listening socket's backlog (511 with Node): beyond it the kernel drops, and tries again after 1 s. */
const MAX_UNANSWERED = 400;
const KEPT_ROOMS = 20;
const KEPT_READERS = 20;
const FILLER = 'The quick brown fox jumps over the lazy dog. ';

export class Crowd {
  readers = [];
  rooms = [];
  posters = [];
  events = 0;
  /** Of a phase: a reader's count went from `before` to `after`. */
  onMessages = () => {};
  textBytes = 90;
  isPolling = false;
  broken;
  dialect;
  #port;
  #lastNumber = 0;
  #lastPoster = 0;

  constructor(dialect, port) {
    this.dialect = dialect;
    this.#port = port;
  }

  fail(why) {
    this.broken ??= new Error(why);
  }

  nameRooms(count) {
    this.rooms = Array.from({ length: count }, (_, i) => ({
      name: i === 0 ? 'lobby' : `room-${i}`,
      readers: [],
      /** Numbers of what was posted while the readers were there. */
      posted: [],
    }));
    return this.rooms.map(({ name }) => name);
  }

  /** Opens readers, spread over the rooms (or all in one), as fast as they are answered. */
  async open({ readers: count, isPolling = false, room: only, isQuiet = false, keepAll = false, resume }) {
    this.isPolling = isPolling;
    const keptRooms = Math.min(KEPT_ROOMS, this.rooms.length);
    const keepEvery = Math.ceil(this.rooms.length / keptRooms);
    const keptInRoom = Math.max(2, Math.ceil(KEPT_READERS / keptRooms));
    const first = this.readers.length;
    let begun = 0;
    let isOpen = 0;
    const next = () => {
      if (begun === count) return;
      const index = first + begun++;
      // The first room is the one that isn't quiet.
      const where = only ?? (isQuiet ? index + 1 : index % this.rooms.length);
      const room = this.rooms[where];
      const isKept = keepAll || (where % keepEvery === 0 && room.readers.length < keptInRoom);
      this.readers.push(
        this.#newReader(
          index,
          room,
          isKept,
          resume?.recoverEach ? { recover: resume.recoverEach[index] } : resume,
          () => {
            isOpen++;
            next();
          },
        ),
      );
      room.readers.push(this.readers.at(-1));
    };
    for (let i = 0; i < MAX_UNANSWERED; i++) next();
    await this.until(
      () => isOpen === count,
      60_000,
      () => `${count} readers open (${isOpen} are)`,
    );
  }

  #newReader(index, room, isKept, resume, onOpen) {
    const hooks = {
      isKept,
      onOpen,
      onMessages: (reader, before, after) => {
        this.events += after - before;
        this.onMessages(reader, before, after);
      },
      onBroken: (why) => this.fail(why),
    };
    const reader = this.dialect.openReader(index, room.name, hooks, { ...resume, isPolling: this.isPolling });
    reader.room = room;
    reader.index = index;
    return reader;
  }

  /** One reader more, outside of `open`, which nobody waits for. */
  admit(index, room) {
    const reader = this.#newReader(index, room, false, undefined, () => {});
    this.readers[index] = reader;
    return reader;
  }

  async openPosters(count) {
    const broken = (why) => this.fail(why);
    while (this.posters.length < count) {
      const one = this.dialect.openPoster
        ? { isFree: true, client: await this.dialect.openPoster(broken) }
        : { isFree: true, client: new Requester(this.#port, broken) };
      this.posters.push(one);
    }
  }

  /** One that has no post under way, if there is one. */
  freePoster() {
    for (let i = 0; i < this.posters.length; i++) {
      this.#lastPoster = (this.#lastPoster + 1) % this.posters.length;
      if (this.posters[this.#lastPoster].isFree) return this.posters[this.#lastPoster];
    }
    return undefined;
  }

  /** Posts over a free connection. The promise is for the answer; a refusal breaks the run, unless `onRefused` takes it. */
  async post(poster, room, onRefused = (error) => this.fail(error.message)) {
    poster.isFree = false;
    const number = ++this.#lastNumber;
    room.posted.push(number);
    const text = `~${String(number).padStart(8, '0')}.`.padEnd(this.textBytes, FILLER);
    try {
      return await this.dialect.post(poster.client, room.name, text);
    } catch (error) {
      onRefused(error);
      return undefined;
    } finally {
      poster.isFree = true;
    }
  }

  /** Everybody leaves; what they kept is checked first, unless the run was cut short. */
  leave({ isCut = false } = {}) {
    const checked = this.check(isCut);
    for (const reader of this.readers) reader.close();
    this.readers = [];
    for (const room of this.rooms) {
      room.readers = [];
      room.posted = [];
    }
    return checked;
  }

  /**
   * Every reader has exactly as many messages as were posted in its room; those that were kept have each number once, and
   * all of a room in the same order. Returns how many were read in full.
   */
  check(isCut = false) {
    let checked = 0;
    for (const room of this.rooms) {
      if (!isCut) {
        for (const { count } of room.readers)
          if (count !== room.posted.length)
            throw new Error(
              `${count} instead of ${room.posted.length} messages reached a reader of ${room.name}`,
            );
      }
      const posted = new Set(room.posted);
      let first;
      for (const reader of room.readers) {
        if (reader.kept === undefined) continue;
        const numbers = this.numbersOf(reader);
        first ??= numbers;
        if (new Set(numbers).size !== numbers.length) throw new Error('a reader got a message twice');
        if (!numbers.every((number) => posted.has(number)))
          throw new Error('a reader got what wasn’t posted');
        if (!isCut && numbers.length !== posted.size) throw new Error('a reader missed a message');
        if (!numbers.every((number, i) => i >= first.length || number === first[i]))
          throw new Error('readers got messages in different orders');
        checked++;
      }
    }
    return checked;
  }

  numbersOf(reader) {
    return this.dialect
      .eventsOf(reader, this.isPolling)
      .filter(({ data }) => typeof data.text === 'string')
      .map(({ data }) => Number(data.text.slice(1, 9)));
  }

  /** Waits until something holds; throws when it takes too long or when the load broke. */
  async until(holds, ms, what) {
    const end = performance.now() + ms;
    while (!holds()) {
      if (this.broken) throw this.broken;
      if (performance.now() > end) throw new Error(`not reached within ${ms} ms: ${what()}`);
      await pause(2);
    }
    if (this.broken) throw this.broken;
  }
}
