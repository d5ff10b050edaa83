import { connect, type Socket } from 'node:net';

/** Who waits for a word, and has it with all that came before it. */
interface Waiting {
  readonly word: string;
  resolve(heard: string): void;
  reject(error: Error): void;
}

/** [spec] RFC 9112, 4: the status of an answer that isn't as it should be. */
const REFUSED = /^HTTP\/1\.1 (?!2)\d\d\d .*$/m;

/** One connection to a port of this machine. */
export class Visitor {
  readonly #socket: Socket;
  #heard = '';
  #waiting: Waiting | undefined;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1').setEncoding('latin1');
    this.#socket.on('data', (text: string) => {
      this.#heard += text;
      this.#look();
    });
    // What is wrong is told by `close`.
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#fail('the connection was ended'));
  }

  /** Sends a request, and waits for a word of its answer. Rejects if it is refused, or the connection ends before it. */
  ask(request: string, word: string): Promise<string> {
    this.#heard = '';
    this.#socket.write(request);
    return this.hear(word);
  }

  /** Waits for a word, one at a time; answers all that came since it last asked. Rejects as `ask` does. */
  hear(word: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = { word, resolve, reject };
      if (this.#socket.destroyed) this.#fail('the connection was ended');
      else this.#look();
    });
  }

  #look(): void {
    if (this.#waiting === undefined) return;
    const [refused] = REFUSED.exec(this.#heard) ?? [];
    if (refused !== undefined) return this.#fail(refused);
    if (!this.#heard.includes(this.#waiting.word)) return;
    this.#waiting.resolve(this.#heard);
    this.#waiting = undefined;
  }

  #fail(why: string): void {
    this.#waiting?.reject(new Error(`no “${this.#waiting.word}” came: ${why}`));
    this.#waiting = undefined;
  }

  leave(): void {
    this.#socket.destroy();
  }
}
