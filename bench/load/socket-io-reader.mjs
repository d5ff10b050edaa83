// A Socket.IO client over a WebSocket, as far as the bench needs one: it reads room messages, answers pings, and posts
// with acknowledgements. Frames are walked by their lengths; only small ones are looked at.
import { connect } from './connection.mjs';

const HANDSHAKE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const HEAD_END = Buffer.from('\r\n\r\n');
const EVENT = Buffer.from('42["message"');
const PING = 0x32;

/** A masked text frame (the mask is 0, which RFC 6455 leaves to the client). */
export function frameOf(text) {
  const body = Buffer.from(text);
  const head =
    body.length < 126
      ? Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0])
      : Buffer.from([0x81, 0x80 | 126, body.length >> 8, body.length & 255, 0, 0, 0, 0]);
  return Buffer.concat([head, body]);
}

/** Cuts WebSocket frames out of a byte stream. */
class Frames {
  #left;
  #onFrame;

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  take(chunk) {
    const bytes = this.#left === undefined ? chunk : Buffer.concat([this.#left, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      let size = bytes[at + 1] & 127;
      let from = at + 2;
      if (size === 126) {
        if (bytes.length - at < 4) break;
        size = bytes.readUInt16BE(at + 2);
        from = at + 4;
      } else if (size === 127) {
        if (bytes.length - at < 10) break;
        size = Number(bytes.readBigUInt64BE(at + 2));
        from = at + 10;
      }
      if (bytes.length < from + size) break;
      this.#onFrame(bytes, from, from + size);
      at = from + size;
    }
    this.#left = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at));
  }
}

export class SocketIoReader {
  count = 0;
  isOpen = false;
  kept;
  /** By which a server knows it again after a break: its private id, and the offset of the last message. */
  pid;
  isRecovered = false;
  offset;
  #connection;
  #acks = new Map();
  #nextAck = 0;

  constructor(port, { room, recover, isKept, onOpen, onMessages, onBroken }) {
    this.room = room;
    if (isKept) this.kept = [];
    let isUpgraded = false;
    const frames = new Frames((bytes, from, to) => {
      if (
        to - from > 4 &&
        bytes[from + 1] === EVENT[1] &&
        bytes[from] === EVENT[0] &&
        bytes[from + 2] === EVENT[2]
      ) {
        this.kept?.push(Buffer.from(bytes.subarray(from, to)));
        this.count++;
        return;
      }
      if (bytes[from] === PING) {
        this.#connection.write(frameOf('3'));
        return;
      }
      const text = bytes.toString('utf8', from, to);
      if (text.startsWith('0{'))
        this.#connection.write(frameOf(`40${recover ? JSON.stringify(recover) : ''}`));
      else if (text.startsWith('40{')) {
        const { pid } = JSON.parse(text.slice(2));
        this.isRecovered = recover !== undefined && pid === recover.pid;
        this.pid = pid;
        this.isOpen = true;
        onOpen(this);
      } else if (text.startsWith('43')) {
        const [, id] = /^43(\d+)/.exec(text);
        this.#acks.get(Number(id))?.();
        this.#acks.delete(Number(id));
      } else if (text.startsWith('44')) onBroken(`a reader was refused: ${text}`);
    });
    this.#connection = connect(
      port,
      (bytes) => {
        let chunk = bytes;
        if (!isUpgraded) {
          const end = bytes.indexOf(HEAD_END);
          if (end < 0 || !bytes.toString('latin1', 0, 13).startsWith('HTTP/1.1 101')) {
            onBroken(`a WebSocket was answered ${bytes.toString('latin1', 0, 300)}`);
            return;
          }
          isUpgraded = true;
          chunk = bytes.subarray(end + 4);
        }
        const before = this.count;
        frames.take(chunk);
        if (this.count > before) onMessages(this, before, this.count);
      },
      (why) => onBroken(`a reader's connection: ${why}`),
    );
    this.#connection.write(
      `GET /socket.io/?EIO=4&transport=websocket&room=${room} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${HANDSHAKE}`,
    );
  }

  /** Emits a post; resolves when the server has acknowledged it. */
  emit(room, text) {
    const id = this.#nextAck++;
    this.#connection.write(frameOf(`42${id}${JSON.stringify(['post', room, text])}`));
    return new Promise((resolve) => this.#acks.set(id, resolve));
  }

  close(isAbrupt) {
    this.#connection.close(isAbrupt);
  }
}

/** The messages in kept packets. */
export function packetsOf(packets) {
  return packets.map((packet) => {
    const [, data, offset] = JSON.parse(packet.toString().slice(2));
    return { id: offset, data };
  });
}
