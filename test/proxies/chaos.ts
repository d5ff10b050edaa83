import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type Exchange, type Habits, habitsOf, type OwnAnswer, type Rule } from './habits.ts';
import { ask, keptConnections, type NextHop, passedOn } from './next-hop.ts';
import { type Head, Outlet, reply, replyTimeout } from './outlet.ts';
import { Passage } from './passage.ts';
import { passUpgrade } from './upgrades.ts';

const TOO_LONG: OwnAnswer = { status: 502, html: '<html><body>The answer is too long.</body></html>' };
const BAD_GATEWAY: OwnAnswer = { status: 502, html: '<html><body>Bad gateway</body></html>' };

interface Kept extends Head {
  readonly body: Buffer;
  readonly at: number;
}

interface Request {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly exchange: Exchange;
  readonly body: Buffer;
  readonly startedAt: number;
}

/** A proxy that does to its clients whatever its rules say; they may be changed while it runs. */
export class ChaosProxy {
  rules: readonly Rule[];
  /** How often what was asked here: `GET /api/poll` -> times. */
  readonly asked = new Map<string, number>();
  /** How often the service was asked. */
  readonly passedOn = new Map<string, number>();
  readonly #hop: NextHop;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #agent = keptConnections();
  readonly #kept = new Map<string, Kept>();

  private constructor(hop: NextHop, rules: readonly Rule[]) {
    this.#hop = hop;
    this.rules = rules;
    this.#server = createServer((req, res) => void this.#serve(req, res));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('upgrade', (req, socket) => {
      const exchange = this.#count(req, true);
      passUpgrade(req, socket, this.#hop, () => habitsOf(this.rules, exchange));
    });
  }

  static async start(hop: NextHop, rules: readonly Rule[] = []): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(hop, rules);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many connections clients have open. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #count({ method = 'GET', url = '/' }: IncomingMessage, isUpgrade: boolean): Exchange {
    const exchange = { method, path: url.split('?', 1)[0] as string, isUpgrade };
    increment(this.asked, exchange);
    return exchange;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const startedAt = performance.now();
    const exchange = this.#count(req, false);
    const { answer, cacheMs = 0, delayMs, repeat } = habitsOf(this.rules, exchange);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of req) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    if (delayMs?.up) await pause(delayMs.up);
    if (answer) return reply(res, answer);
    const kept = exchange.method === 'GET' ? this.#kept.get(req.url as string) : undefined;
    if (kept && performance.now() - kept.at < cacheMs) {
      res.writeHead(kept.status, kept.headers).end(kept.body);
      return;
    }
    const times = repeat && exchange.method === 'GET' ? repeat.times : 1;
    this.#passOn({ req, res, exchange, startedAt, body: Buffer.concat(chunks) }, times);
  }

  /** Asks the service, and again if need be, and passes its answer back. */
  #passOn(request: Request, timesLeft: number): void {
    const { req, res, exchange, startedAt, body } = request;
    const habits = (): Habits => {
      const now = habitsOf(this.rules, exchange);
      // Whoever may have to ask again can't have told anything yet.
      return now.repeat && exchange.method === 'GET' ? { ...now, hold: 'answer' } : now;
    };
    const { strip, http10 = false, gzip = false, repeat, lingerMs = 0 } = habits();
    increment(this.passedOn, exchange);
    const headers = passedOn(req.headers, strip?.request);
    const upstream = ask(this.#hop, {
      method: exchange.method,
      target: req.url as string,
      headers,
      body,
      http10,
      agent: this.#agent,
    });
    const outlet = new Outlet(res, { isZipped: gzip, onCut: () => upstream.destroy() });
    const passage = new Passage(outlet, habits, startedAt);
    let isLeft = false;
    const leave = () => {
      isLeft = true;
      clearTimeout(patience);
      passage.stop();
      setTimeout(() => upstream.destroy(), lingerMs);
    };
    const askAgain = () => {
      res.off('close', leave);
      leave();
      if (timesLeft > 1) this.#passOn(request, timesLeft - 1);
      else replyTimeout(res);
    };
    const patience = repeat && exchange.method === 'GET' ? setTimeout(askAgain, repeat.everyMs) : undefined;
    res.once('close', leave);
    upstream.on('error', () => {
      if (isLeft) return;
      if (outlet.head === undefined && !res.headersSent && !passage.isSwallowed) reply(res, BAD_GATEWAY);
      else passage.fail();
    });
    upstream.on('response', (answer) => {
      if (!isLeft) this.#passAnswer(request, answer, { outlet, passage, habits });
    });
  }

  #passAnswer({ req, res, exchange }: Request, answer: IncomingMessage, way: Way): void {
    const { outlet, passage, habits } = way;
    const type = answer.headers['content-type'];
    if (type !== undefined) exchange.type = type;
    const { cacheMs, delayMs, maxAnswerBytes = Infinity, strip } = habits();
    if (Number(answer.headers['content-length'] ?? 0) > maxAnswerBytes) {
      passage.stop();
      answer.destroy();
      return reply(res, TOO_LONG);
    }
    const head = { status: answer.statusCode as number, headers: passedOn(answer.headers, strip?.answer) };
    outlet.head = head;
    const isKept = cacheMs !== undefined && exchange.method === 'GET' && head.status === 200;
    const kept: Buffer[] = [];
    const later = (act: () => void) => {
      if (delayMs?.down) setTimeout(act, delayMs.down);
      else act();
    };
    later(() => passage.open());
    answer.on('data', (chunk: Buffer) => {
      if (isKept) kept.push(chunk);
      later(() => passage.feed(chunk));
    });
    answer.on('end', () => {
      if (isKept)
        this.#kept.set(req.url as string, { ...head, body: Buffer.concat(kept), at: performance.now() });
      later(() => passage.end());
    });
    answer.on('error', () => later(() => passage.fail()));
  }
}

/** How an answer gets from the service to the client. */
interface Way {
  readonly outlet: Outlet;
  readonly passage: Passage;
  readonly habits: () => Habits;
}

function increment(counts: Map<string, number>, { method, path }: Exchange): void {
  const key = `${method} ${path}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
