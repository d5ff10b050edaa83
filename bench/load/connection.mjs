// A raw connection to the side that is measured. Nothing here knows what is said on it.
import net from 'node:net';

/** All sockets read into the same memory: whoever wants bytes beyond the call has to copy them. */
const memory = Buffer.allocUnsafe(256 * 1024);
/** A source address has some 28,000 ports; connections that ended block theirs for a minute. */
const SOURCES = 12;
let opened = 0;

/** Opens a connection; `onBytes` is called with each chunk, `onBroken` once if it ends before `close()`. */
export function connect(port, onBytes, onBroken) {
  let isClosed = false;
  const broken = (why) => {
    if (isClosed) return;
    isClosed = true;
    onBroken(why);
  };
  const socket = net.connect({
    port,
    host: '127.0.0.1',
    localAddress: `127.0.0.${2 + (opened++ % SOURCES)}`,
    noDelay: true,
    onread: {
      buffer: memory,
      callback: (size) => {
        onBytes(memory.subarray(0, size));
        return true;
      },
    },
  });
  socket.on('error', (error) => broken(error.message));
  socket.on('close', () => broken('closed by the server'));
  return {
    write: (data) => socket.write(data),
    /** Abruptly, or with a FIN as a browser that navigates away. */
    close: (isAbrupt = true) => {
      isClosed = true;
      if (isAbrupt) socket.destroy();
      else socket.end(() => socket.destroy());
    },
  };
}
