import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

type Fields = Record<string, unknown>;

interface Answer {
  readonly id?: number;
  readonly type: 'success' | 'error' | 'event';
  readonly method?: string;
  readonly params?: Fields;
  readonly result?: Fields;
  readonly error?: string;
  readonly message?: string;
}

/** A Firefox as it was installed, driven by WebDriver BiDi. [spec] https://w3c.github.io/webdriver-bidi/ */
export class Firefox {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve(result: Fields): void; reject(error: Error): void }>();
  readonly #served = new Map<string, string>();
  #lastId = 0;

  private constructor(process: ChildProcess, profile: string, socket: WebSocket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.on('message', (data) => this.#hear(JSON.parse(String(data)) as Answer));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Firefox has gone'));
    });
  }

  static async launch(path: string): Promise<Firefox> {
    const profile = await mkdtemp(join(tmpdir(), 'throughline-firefox-'));
    const args = ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', profile];
    const process = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    for await (const line of createInterface({ input: process.stderr })) {
      said += `${line}\n`;
      const [, url] = /BiDi listening on (ws:\S+)/.exec(line) ?? [];
      if (!url) continue;
      process.stderr.resume();
      const socket = new WebSocket(`${url}/session`);
      await once(socket, 'open');
      const firefox = new Firefox(process, profile, socket);
      await firefox.send('session.new', { capabilities: {} });
      await firefox.send('session.subscribe', { events: ['network.beforeRequestSent'] });
      return firefox;
    }
    throw new Error(`Firefox didn’t start: ${said}`);
  }

  /** Sends a command, and gets its result. */
  send(method: string, params: Fields): Promise<Fields> {
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  /** Answers requests for a script in the service's place. */
  async serve(url: string, script: string): Promise<void> {
    this.#served.set(url, script);
    const urlPatterns = [{ type: 'string', pattern: url }];
    await this.send('network.addIntercept', { phases: ['beforeRequestSent'], urlPatterns });
  }

  /** Opens a window that shares no cookies with any other. */
  async open(url: string): Promise<Tab> {
    const { userContext } = await this.send('browser.createUserContext', {});
    const { context } = await this.send('browsingContext.create', { type: 'window', userContext });
    const tab = new Tab(this, context as string);
    await this.send('browsingContext.navigate', { context, url, wait: 'complete' });
    return tab;
  }

  async close(): Promise<void> {
    const hasEnded = this.#process.exitCode !== null || once(this.#process, 'exit');
    this.#process.kill();
    await hasEnded;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #hear({ id, type, method, params, result, error, message }: Answer): void {
    if (method === 'network.beforeRequestSent' && params?.['isBlocked']) {
      const { request, url } = params['request'] as { request: string; url: string };
      const headers = [{ name: 'Content-Type', value: { type: 'string', value: 'text/javascript' } }];
      const body = { type: 'string', value: this.#served.get(url) ?? '' };
      // Left unanswered if the page or all of Firefox went meanwhile.
      this.send('network.provideResponse', { request, statusCode: 200, headers, body }).catch(() => {});
    }
    const waiting = this.#waiting.get(id ?? 0);
    this.#waiting.delete(id ?? 0);
    if (type === 'success') waiting?.resolve(result as Fields);
    else if (type === 'error') waiting?.reject(new Error(`${error}: ${message}`));
  }
}

/** One page in it. */
export class Tab {
  readonly #firefox: Firefox;
  readonly #context: string;

  constructor(firefox: Firefox, context: string) {
    this.#firefox = firefox;
    this.#context = context;
  }

  /** The value of an expression in the page, as JSON carries it. */
  async evaluate<T>(expression: string): Promise<T> {
    const { type, result, exceptionDetails } = (await this.#firefox.send('script.evaluate', {
      expression: `(async () => JSON.stringify(await (${expression})) ?? 'null')()`,
      target: { context: this.#context },
      awaitPromise: true,
    })) as { type: string; result: { value: string }; exceptionDetails: { text: string } };
    if (type !== 'success') throw new Error(`${expression}: ${exceptionDetails.text}`);
    return JSON.parse(result.value) as T;
  }

  /** Types a text where the focus is, and then Enter. */
  async enter(text: string): Promise<void> {
    const keys = [...text, '\uE007'].flatMap((value) => [
      { type: 'keyDown', value },
      { type: 'keyUp', value },
    ]);
    await this.#firefox.send('input.performActions', {
      context: this.#context,
      actions: [{ type: 'key', id: 'keyboard', actions: keys }],
    });
  }

  async reload(): Promise<void> {
    await this.#firefox.send('browsingContext.reload', { context: this.#context, wait: 'complete' });
  }
}
