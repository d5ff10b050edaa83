import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { nextTick } from 'node:process';
import { Server as TlsServer } from 'node:tls';
import { KEEP_ALIVE_MS } from './app-server.ts';

/** What is under way on a connection: nothing yet, nothing any more, a stream that holds it, or what is answered last. */
type State = 'new' | 'idle' | 'held' | ServerResponse;

/** On the socket itself, since each request asks for it several times. */
const STATE = Symbol('what is under way');

interface Attended extends Socket {
  [STATE]?: State | undefined;
}

/** How long a connection may say nothing at a stop: its first request may be on its way. */
const FIRST_REQUEST_MS = 500;

/**
 * The connections of a server, so that a stop takes no longer than what is under way. Node.js ends those that are idle
 * when it is told to close, once: streams, polls and answers that end later leave theirs kept alive, and connections on
 * which nothing was asked yet (browsers open them in advance) don't count as idle at all.
 */
export class OpenConnections {
  readonly #attended = new Set<Attended>();
  /** What no request can be answered on: before TLS, and after an upgrade. */
  readonly #others = new Set<Socket>();
  readonly #timers: NodeJS.Timeout[] = [];
  #drainMs = 0;
  #isLeaving = false;
  #isEnding = false;
  #server: Server | TlsServer | undefined;

  /** Looks after the connections of this server, and of no other. */
  attend(server: Server | TlsServer): void {
    this.#server = server;
    const isTls = server instanceof TlsServer;
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Attended) => this.#opened(socket));
    if (isTls) server.on('connection', (socket: Socket) => this.#accepted(socket));
    server.prependListener('request', (req: IncomingMessage, res: ServerResponse) => this.#asked(req, res));
    // From here on whoever took the upgrade ends it.
    server.prependListener('upgrade', (_req: IncomingMessage, socket: Attended) => {
      socket[STATE] = undefined;
      this.#attended.delete(socket);
      this.#accepted(socket);
    });
  }

  /**
   * Accepts no more, and has every answer from now on end its connection. Idle ones are ended after `idleMs`
   * milliseconds, all that are left `drainMs` later. Resolves when none is.
   */
  close(drainMs: number, idleMs: number): Promise<void> {
    this.#drainMs = drainMs;
    this.#isLeaving = true;
    for (const { [STATE]: state } of this.#attended) if (typeof state === 'object') sayClose(state);
    this.#timers.push(setTimeout(() => this.endIdle(), idleMs));
    return new Promise((resolve) => {
      // http's own would end connections whose answer isn't wholly sent, or whose next request is on its way.
      NetServer.prototype.close.call(this.#server, () => {
        this.#timers.forEach(clearTimeout);
        // Now it only stops the timer by which it looks after its connections.
        this.#server?.close();
        resolve();
      });
    });
  }

  /** After `close`: ends what is idle now, and what becomes so. Safe to call twice. */
  endIdle(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#endAll('idle');
    this.#timers.push(
      setTimeout(() => this.#endAll('new'), FIRST_REQUEST_MS),
      setTimeout(() => this.#destroyAll(), this.#drainMs),
    );
  }

  /**
   * Ends a response whose head is out as far as Node.js is concerned, which lets go of it and of its request: a third of
   * what a reader takes. Nothing is sent for that. The socket stays the caller's to write to, until `release`; a client
   * that sends a further request meanwhile is cut off. False for what can't be held.
   */
  hold(res: ServerResponse): boolean {
    const { shouldKeepAlive } = res;
    const socket: Attended | null = res.socket;
    // One that isn't kept alive would be ended with its response.
    if (!socket || !shouldKeepAlive || this.#isLeaving || socket[STATE] !== res) return false;
    // Another server's, which somebody else attends.
    if (!this.#attended.has(socket)) return false;
    socket[STATE] = 'held';
    const { write } = socket;
    // The last chunk would be the stream's end.
    socket.write = writeNothing;
    res.end();
    socket.write = write;
    // Node.js now gives the client a while for its next request.
    res.once('close', () => socket[STATE] === 'held' && socket.setTimeout(0));
    return true;
  }

  /** What held the connection has sent its end: it serves the next request, or ends. */
  release(socket: Attended): void {
    if (socket[STATE] !== 'held') return;
    socket[STATE] = 'idle';
    if (this.#isEnding) socket.destroySoon();
    else socket.setTimeout(KEEP_ALIVE_MS);
  }

  #opened(socket: Attended): void {
    socket[STATE] = 'new';
    complete(socket);
    this.#attended.add(socket);
    socket.once('close', () => {
      socket[STATE] = undefined;
      this.#attended.delete(socket);
    });
  }

  #accepted(socket: Socket): void {
    this.#others.add(socket);
    socket.once('close', () => this.#others.delete(socket));
  }

  #asked(req: IncomingMessage, res: ServerResponse): void {
    const socket: Attended = req.socket;
    // Its answer would land inside the stream.
    if (socket[STATE] === 'held') socket.destroy();
    socket[STATE] = res;
    if (this.#isLeaving) sayClose(res);
    res.once('close', () => {
      // Of pipelined requests the last one’s answer is the last to go.
      if (socket[STATE] !== res) return;
      socket[STATE] = 'idle';
      if (this.#isEnding) socket.destroySoon();
    });
  }

  #endAll(wanted: 'new' | 'idle'): void {
    for (const socket of this.#attended) if (socket[STATE] === wanted) socket.destroySoon();
  }

  #destroyAll(): void {
    for (const socket of [...this.#attended, ...this.#others]) socket.destroy();
  }
}

/** Takes the place of a socket's `write`. */
function writeNothing(_chunk: unknown, encoding?: unknown, done?: unknown): boolean {
  const written = typeof encoding === 'function' ? encoding : done;
  if (typeof written === 'function') nextTick(written as () => void);
  return true;
}

function sayClose(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close');
}

/**
 * Sets on a connection from the start what Node.js and `hold` set on it later, each connection some of it and in an order of
 * its own: its time-out comes after the first answer, the address at its other end when somebody asks. As with requests
 * (`app-server.ts`) V8 then sees connections of few shapes, whether they post, poll, stream or log in.
 */
function complete(socket: Socket): void {
  socket.setTimeout(socket.timeout ?? 0);
  const { write } = socket;
  socket.write = write;
  void socket.remoteAddress;
}
