// A reader that polls: asks, takes the answer, asks again. How one asks is the dialect's: it gives a script of steps.
import { Answers } from './answers.mjs';
import { connect } from './connection.mjs';

const MARKER = 0x7e;
const LEAST_DISTANCE = 40;

export class PollReader {
  count = 0;
  isOpen = false;
  kept;
  #connection;

  /** `next(head, body, reader)` is the request that follows an answer; `first` the one at the beginning. */
  constructor(port, { first, next, isOpenAtOnce = false }, { room, isKept, onOpen, onMessages, onBroken }) {
    this.room = room;
    if (isKept) this.kept = [];
    const answers = new Answers((status, head, body) => {
      if (status !== 200) {
        onBroken(`a poll was answered ${head} ${body.toString()}`);
        return;
      }
      const before = this.count;
      for (let at = body.indexOf(MARKER); at >= 0; at = body.indexOf(MARKER, at + LEAST_DISTANCE))
        this.count++;
      if (this.count > before) {
        this.kept?.push(Buffer.from(body));
        onMessages(this, before, this.count);
      }
      this.#connection.write(next(head, body, this));
    });
    this.open = () => {
      if (this.isOpen) return;
      this.isOpen = true;
      onOpen(this);
    };
    this.#connection = connect(
      port,
      (bytes) => answers.take(bytes),
      (why) => onBroken(`a poll's connection: ${why}`),
    );
    this.#connection.write(first);
    // Behind the constructor, so that whoever opened it knows it.
    if (isOpenAtOnce) queueMicrotask(this.open);
  }

  close(isAbrupt) {
    this.#connection.close(isAbrupt);
  }
}
