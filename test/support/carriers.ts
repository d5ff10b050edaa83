import { createParser } from 'eventsource-parser';
import { WebSocket } from 'ws';
import type { Person, WireEvent } from './service.ts';
import { settled } from './wait-for.ts';

const ASIDE = new Set(['hello', 'heartbeat', 'presence']);

/** Somebody following rooms over one carrier: what they were told, and where they may go on from. */
export class Follower {
  /** Everything told but `hello`, heartbeats and presence. */
  readonly events: WireEvent[] = [];
  readonly all: WireEvent[] = [];
  cursor: string | undefined;
  failure: unknown;
  done: Promise<void> = Promise.resolve();
  readonly #stopping = new AbortController();

  constructor(cursor: string | undefined) {
    this.cursor = cursor;
  }

  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  get texts(): string[] {
    return this.events.filter(({ kind }) => kind === 'message').map(({ text }) => text as string);
  }

  told(event: WireEvent, cursor: string | undefined): void {
    this.all.push(event);
    if (!ASIDE.has(event.kind)) this.events.push(event);
    if (cursor) this.cursor = cursor;
  }

  /** Cuts the connection; what was told and the cursor stay. */
  async cut(): Promise<void> {
    this.#stopping.abort();
    await settled('what follows to end', this.done);
  }
}

export interface Carrier {
  readonly name: string;
  /** Whether it tells that it has begun. */
  readonly saysHello?: boolean;
  /** It asks so often, and hears nothing between. */
  readonly asksEveryMs?: number;
  follow(person: Person, rooms: string[], after?: string): Follower;
}

function start(after: string | undefined, run: (follower: Follower) => Promise<void>): Follower {
  const follower = new Follower(after);
  follower.done = run(follower).catch((error: unknown) => {
    if (!follower.signal.aborted) follower.failure = error;
  });
  return follower;
}

async function readStream(follower: Follower, res: Response): Promise<void> {
  if (!res.ok || res.body === null) throw new Error(`stream: ${res.status} ${await res.text()}`);
  const parser = createParser({
    onEvent: ({ data, id }) => follower.told(JSON.parse(data) as WireEvent, id),
  });
  const decoder = new TextDecoder();
  for await (const chunk of res.body) parser.feed(decoder.decode(chunk, { stream: true }));
}

const streamByGet: Carrier = {
  name: 'SSE by GET',
  saysHello: true,
  follow: (person, rooms, after) =>
    start(after, async (follower) => {
      const query = new URLSearchParams({ rooms: rooms.join(','), ...(after && { after }) });
      await readStream(follower, await person.get(`/api/stream?${query}`, { signal: follower.signal }));
    }),
};

const streamByPost: Carrier = {
  name: 'SSE by POST, as bytes',
  saysHello: true,
  follow: (person, rooms, after) =>
    start(after, async (follower) => {
      const init = { signal: follower.signal, headers: { Accept: 'application/octet-stream' } };
      const res = await person.send('/api/stream', { rooms, ...(after && { after }) }, init);
      if (res.headers.get('content-type') !== 'application/octet-stream') throw new Error('not as bytes');
      await readStream(follower, res);
    }),
};

const socket: Carrier = {
  name: 'WebSocket',
  saysHello: true,
  follow: (person, rooms, after) =>
    start(after, async (follower) => {
      const { token } = person;
      const query = new URLSearchParams({
        rooms: rooms.join(','),
        ...(after && { after }),
        ...(token && { token: '1' }),
      });
      const webSocket = new WebSocket(person.address(`/api/socket?${query}`).replace(/^http/, 'ws'), {
        headers: token ? {} : { Cookie: person.cookie },
      });
      if (token) webSocket.once('open', () => webSocket.send(JSON.stringify({ kind: 'token', token })));
      follower.signal.addEventListener('abort', () => webSocket.terminate());
      webSocket.on('message', (data) => {
        const { cursor, ...event } = JSON.parse(String(data)) as WireEvent & { cursor?: string };
        if (!follower.signal.aborted) follower.told(event as WireEvent, cursor);
      });
      await new Promise((resolve, reject) => {
        webSocket.once('unexpected-response', (_req, res) => reject(new Error(`socket: ${res.statusCode}`)));
        webSocket.once('error', reject);
        webSocket.once('close', resolve);
      });
    }),
};

function polls(name: string, parameters: Record<string, string>, pauseMs: number, byPost: boolean): Carrier {
  return {
    name,
    follow: (person, rooms, after) =>
      start(after, async (follower) => {
        while (!follower.signal.aborted) {
          const asked = {
            rooms: rooms.join(','),
            ...(follower.cursor && { after: follower.cursor }),
            ...parameters,
          };
          const init = { signal: follower.signal };
          const res = byPost
            ? await person.send('/api/poll', asked, init)
            : await person.get(`/api/poll?${new URLSearchParams(asked)}`, init);
          const text = await res.text();
          if (!res.ok) throw new Error(`poll: ${res.status} ${text}`);
          if (Buffer.byteLength(text) > 48 * 1024)
            throw new Error(`a poll's answer of ${Buffer.byteLength(text)} bytes`);
          const { events, cursor, error } = JSON.parse(text) as {
            events: WireEvent[];
            cursor: string;
            error?: { code: string };
          };
          // Of a poll that drips a refusal comes under status 200.
          if (error) throw new Error(`poll: ${error.code}`);
          for (const event of events) follower.told(event, undefined);
          follower.cursor = cursor;
          if (events.some(({ kind }) => kind === 'bye')) return;
          if (events.length === 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        }
      }),
  };
}

/** Every carrier there is: the delivery contract holds over each of them. */
export const carriers: Carrier[] = [
  streamByGet,
  streamByPost,
  socket,
  polls('long-poll', { wait: '5' }, 0, false),
  polls('long-poll by POST, dripping', { wait: '5', drip: '1' }, 0, true),
  polls('short poll', { wait: '0' }, 10, false),
];
