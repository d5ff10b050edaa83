// A reader of Server-Sent Events. What arrives isn't parsed: every message's text has one `~`, a byte that occurs
// nowhere else and that no chunk border can split, so its n-th `~` is its n-th message.
import { unchunked } from './answers.mjs';
import { connect } from './connection.mjs';

const MARKER = 0x7e;
const OK = Buffer.from('HTTP/1.1 200 ');
/** What surrounds a text: from one marker, the next one is further away than that. */
const LEAST_DISTANCE = 40;

export class StreamReader {
  count = 0;
  isOpen = false;
  /** Copies of all that arrived, where they are wanted. */
  kept;
  #connection;

  constructor(port, request, { room, isKept, onOpen, onMessages, onBroken }) {
    this.room = room;
    if (isKept) this.kept = [];
    this.#connection = connect(
      port,
      (bytes) => {
        if (!this.isOpen) {
          if (!bytes.subarray(0, OK.length).equals(OK)) {
            onBroken(`a reader was answered ${bytes.toString('latin1', 0, 300)}`);
            return;
          }
          this.isOpen = true;
          onOpen(this);
        }
        this.kept?.push(Buffer.from(bytes));
        const before = this.count;
        for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + LEAST_DISTANCE))
          this.count++;
        if (this.count > before) onMessages(this, before, this.count);
      },
      (why) => onBroken(`a reader's connection: ${why}`),
    );
    this.#connection.write(request);
  }

  close(isAbrupt) {
    this.#connection.close(isAbrupt);
  }
}

/** The messages in all bytes of a stream, head included: `[{id, data}]`. The last one may be cut and is left out. */
export function eventsOf(bytes) {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.latin1Slice(0, end);
  const body = /transfer-encoding: *chunked/i.test(head)
    ? unchunked(bytes, end + 4).body
    : bytes.subarray(end + 4);
  const blocks = body.toString().replaceAll('\r\n', '\n').split('\n\n');
  blocks.pop();
  const events = [];
  for (const block of blocks) {
    let id;
    let name = 'message';
    const data = [];
    for (const line of block.split('\n')) {
      const [, field, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
      if (field === 'id') id = value;
      else if (field === 'event') name = value;
      else if (field === 'data') data.push(value);
    }
    if (data.length > 0 && name === 'message') events.push({ id, data: JSON.parse(data.join('\n')) });
  }
  return events;
}
