import { randomUUID } from 'node:crypto';
import { LOBBY } from '../chat/rooms.ts';
import { Visitor } from './visitor.ts';

/** In each half of a round; … */
const MESSAGES = 20;
/** … together more than a socket takes at once: 16 KB in Node.js 20, 64 KB since 22. */
const CHARACTERS = 1700;
/** So many stay from the first round to the end. */
const STAYING = 10;

/** What clients of several kinds send: V8 tells requests apart by the names of their headers, and their order. */
const CLIENT_HEADERS = [
  'Accept: text/event-stream\r\nCache-Control: no-cache',
  'User-Agent: a\r\nAccept: text/event-stream\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\nSec-Fetch-Site: same-origin',
  'sec-ch-ua: "a"\r\nUser-Agent: a\r\nAccept: */*\r\nSec-Fetch-Site: same-origin\r\nAccept-Encoding: gzip\r\nAccept-Language: en',
  'User-Agent: a\r\nAccept: */*',
  'Accept: text/event-stream\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nVia: 1.1 a',
] as const;

/** Where they go, and what each of their requests carries. */
interface Target {
  readonly port: number;
  readonly basePath: string;
  readonly header: string;
}

interface StreamOptions {
  readonly after?: string | undefined;
  /** What is waited for. */
  readonly word?: string;
  readonly isStaying?: boolean;
}

/** Readers and posters of the lobby, each with a cookie, who do what clients do. */
export class Visitors {
  readonly #target: Target;
  readonly #readers: readonly string[];
  readonly #posters: readonly string[];
  readonly #visitors: Visitor[] = [];
  readonly #staying: Visitor[] = [];
  #said = 0;

  constructor(target: Target, readers: readonly string[], posters: readonly string[]) {
    this.#target = target;
    this.#readers = readers;
    this.#posters = posters;
  }

  /** Some come, and stay until the heartbeat that proves their streams. Rejects if none comes. */
  async awaitProof(): Promise<void> {
    const staying = this.#readers.slice(0, STAYING);
    await Promise.all(
      staying.map((cookie, i) => this.#read(cookie, i, { word: 'event: heartbeat', isStaying: true })),
    );
  }

  /** All come, are told, leave, miss something, come back, and leave. Rejects if any of it isn't answered as it should be. */
  async round(): Promise<void> {
    const cursors = await Promise.all(this.#readers.map((cookie, i) => this.#read(cookie, i)));
    const told = this.#visitors.map((visitor) => visitor.hear(this.#wordOf(this.#said + MESSAGES)));
    await Promise.all([this.#post(), ...told]);
    this.#leave(this.#visitors);
    await this.#post();
    this.#leave(this.#visitors);
    const word = this.#wordOf(this.#said);
    await Promise.all(this.#readers.map((cookie, i) => this.#read(cookie, i, { after: cursors[i], word })));
    this.#leave(this.#visitors);
  }

  /** Whoever waits for something waits in vain. */
  end(): void {
    this.#leave(this.#visitors);
    this.#leave(this.#staying);
  }

  #leave(visitors: Visitor[]): void {
    for (const visitor of visitors.splice(0)) visitor.leave();
  }

  /** Opens a stream, and answers the cursor that it begins with. */
  async #read(
    cookie: string,
    i: number,
    { after, word = 'event: hello', isStaying = false }: StreamOptions = {},
  ): Promise<string | undefined> {
    const visitor = this.#visit(isStaying ? this.#staying : this.#visitors);
    const isInQuery = after !== undefined && i % 2 === 0;
    const query = isInQuery ? `rooms=${LOBBY}&after=${after}` : `rooms=${LOBBY}`;
    const headers = after === undefined || isInQuery ? [] : [`Last-Event-ID: ${after}`];
    const request = this.#request('GET', `stream?${query}`, cookie, [this.#clientHeaders(i), ...headers]);
    const beginning = await visitor.ask(request, word);
    return /^id: (\S+)$/m.exec(beginning)?.[1];
  }

  async #post(): Promise<void> {
    const each = MESSAGES / this.#posters.length;
    const all = this.#posters.map(async (cookie) => {
      const visitor = this.#visit(this.#visitors);
      for (let i = 0; i < each; i++) {
        const text = this.#wordOf(++this.#said).padStart(CHARACTERS, i === 0 ? '…' : '-');
        const body = JSON.stringify(i % 2 === 0 ? { text, clientId: randomUUID() } : { text });
        const headers = [
          this.#clientHeaders(i),
          'Content-Type: application/json',
          `Content-Length: ${Buffer.byteLength(body)}`,
        ];
        const request = this.#request('POST', `rooms/${LOBBY}/messages`, cookie, headers);
        await visitor.ask(request + body, '"at":');
      }
    });
    await Promise.all(all);
  }

  #wordOf(number: number): string {
    return `word ${number}.`;
  }

  #clientHeaders(i: number): string {
    return CLIENT_HEADERS[i % CLIENT_HEADERS.length] as string;
  }

  #visit(among: Visitor[]): Visitor {
    const visitor = new Visitor(this.#target.port);
    among.push(visitor);
    return visitor;
  }

  #request(method: string, path: string, cookie: string, headers: readonly string[]): string {
    const { basePath, header } = this.#target;
    const lines = [
      `${method} ${basePath}/api/${path} HTTP/1.1`,
      'Host: 127.0.0.1',
      header,
      `Cookie: ${cookie}`,
      ...headers,
    ];
    return `${lines.join('\r\n')}\r\n\r\n`;
  }
}
