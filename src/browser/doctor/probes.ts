import { eventStreamReader } from '../event-stream.ts';
import type { Answer, Echo, End, Headers, PollTrace, StreamTrace } from './trace.ts';

/** What of a browser's socket the probes use. */
export interface SocketLike {
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { code: number }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
  close(): void;
}

/** What the probes are made with, in a page and in tests alike. */
export interface ProbeTools {
  /** The service's base URL, without a slash at the end. */
  readonly base: string;
  readonly fetch: typeof fetch;
  /** Undefined where the browser has none. */
  readonly WebSocket: (new (url: string) => SocketLike) | undefined;
  /** Ends every probe at once. */
  readonly signal: AbortSignal;
  /** Something was written into a trace. */
  readonly onNews: () => void;
}

const PATIENCE_MS = 4000;
const STRANGE_CHARACTERS = 2000;
/** A stream is silent if nothing comes for so long in which an event a second was due. */
const SILENCE_MS = 10_000;

/** Opens the doctor's stream as the client opens its own, and writes down what comes. Never rejects. */
export async function runStream(tools: ProbeTools, trace: StreamTrace): Promise<void> {
  const run = startRun(tools, trace, trace.seconds * 1000 + PATIENCE_MS);
  const isPost = trace.carrier === 'post-stream';
  const query = `seconds=${trace.seconds}&t=${token()}`;
  const read = eventStreamReader((data) => take(trace, data, run));
  await run.request(`/api/doctor/stream?${query}`, {
    method: isPost ? 'POST' : 'GET',
    headers: isPost
      ? { Accept: 'application/octet-stream', 'Content-Type': 'application/json' }
      : { Accept: 'text/event-stream' },
    ...(isPost && { body: '{}' }),
    onAnswer: (answer) => {
      trace.answer = answer;
    },
    onPiece: (text) => {
      if (trace.answer?.status !== 200) keepStrange(trace, text);
      else {
        if (trace.arrivals.length === 0 && !/^(?:event|id|retry|data|:)/.test(text.trim()))
          keepStrange(trace, text);
        read(text);
      }
    },
  });
}

/** Opens the doctor's WebSocket and writes down what comes. Never rejects. */
export function runSocket(tools: ProbeTools, trace: StreamTrace): Promise<void> {
  const { WebSocket: Socket } = tools;
  return new Promise((resolve) => {
    const run = startRun(tools, trace, trace.seconds * 1000 + PATIENCE_MS);
    const finish = (how: End['how']) => {
      run.end(how);
      resolve();
    };
    if (!Socket) return finish('torn');
    let socket: SocketLike;
    try {
      const base = tools.base.replace(/^http/, 'ws');
      socket = new Socket(`${base}/api/doctor/socket?seconds=${trace.seconds}&t=${token()}`);
    } catch {
      return finish('torn');
    }
    run.onStop((how) => {
      socket.close();
      finish(how);
    });
    socket.addEventListener('message', ({ data }) => take(trace, String(data), run));
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', ({ code }) =>
      finish(code === 1000 ? 'clean' : code === 1001 ? 'stopped' : 'torn'),
    );
  });
}

/** Asks the doctor's poll and writes down what comes. Never rejects. */
export async function runPoll(tools: ProbeTools, trace: PollTrace): Promise<void> {
  const run = startRun(tools, trace, trace.waitMs + PATIENCE_MS);
  const t = token();
  const query = `wait=${trace.waitMs / 1000}&t=${t}${trace.isDripping ? '&drip=1' : ''}`;
  let body = '';
  await run.request(`/api/doctor/poll?${query}`, {
    onAnswer: (answer) => {
      trace.answer = answer;
    },
    onPiece: (text) => {
      trace.piecesAtMs.push(run.now());
      body += text;
    },
  });
  try {
    const answer = JSON.parse(body);
    if (answer.code === 'shutting_down' && trace.end) trace.end = { ...trace.end, how: 'stopped' };
    trace.isGenuine = answer.kind === 'answer' && answer.t === t;
  } catch {
    // Not the service's.
  }
  if (!trace.isGenuine) keepStrange(trace, body.trim());
}

/** How our requests look when they get there; undefined if something else answers, or nothing. */
export async function runEcho(
  tools: ProbeTools,
): Promise<{ echo: Echo | undefined; answer: Answer | undefined }> {
  const run = startRun(tools, {}, PATIENCE_MS);
  let answer: Answer | undefined;
  let body = '';
  await run.request(`/api/doctor/echo?t=${token()}`, {
    onAnswer: (head) => {
      answer = head;
    },
    onPiece: (text) => {
      body += text;
    },
  });
  try {
    const echo = JSON.parse(body);
    return { echo: echo.kind === 'echo' && typeof echo.headers === 'object' ? echo : undefined, answer };
  } catch {
    return { echo: undefined, answer };
  }
}

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly onAnswer: (answer: Answer) => void;
  readonly onPiece: (text: string) => void;
}

/** A probe's clock, its patience, and its end, which comes once. */
interface Run {
  now(): number;
  end(how: End['how']): void;
  heard(): void;
  onStop(stop: (how: 'silent' | 'torn') => void): void;
  request(path: string, asked: Asked): Promise<void>;
}

function startRun(tools: ProbeTools, trace: { end?: End }, patienceMs: number): Run {
  const startedAt = performance.now();
  const now = () => Math.round(performance.now() - startedAt);
  let stop: (how: 'silent' | 'torn') => void = () => {};
  const giveUp = () => stop('silent');
  const abort = () => stop('torn');
  const patience = setTimeout(giveUp, patienceMs);
  let silence: ReturnType<typeof setTimeout> | undefined;
  tools.signal.addEventListener('abort', abort);
  const end = (how: End['how']) => {
    clearTimeout(patience);
    clearTimeout(silence);
    tools.signal.removeEventListener('abort', abort);
    if (trace.end) return;
    trace.end = { atMs: now(), how };
    tools.onNews();
  };
  const request = (path: string, { onAnswer, onPiece, ...init }: Asked) =>
    new Promise<void>((resolve) => {
      const stopping = new AbortController();
      const finish = (how: End['how']) => {
        end(how);
        resolve();
      };
      stop = (how) => {
        finish(how);
        stopping.abort();
      };
      const read = async () => {
        const response = await tools.fetch(tools.base + path, {
          cache: 'no-store',
          credentials: 'same-origin',
          redirect: 'manual',
          signal: stopping.signal,
          ...init,
        });
        if (trace.end) return;
        onAnswer(headOf(response, now()));
        tools.onNews();
        await eachPiece(response, (text) => {
          if (trace.end) return;
          onPiece(text);
          tools.onNews();
        });
      };
      read().then(
        () => finish('clean'),
        () => finish('torn'),
      );
    });
  return {
    now,
    end,
    // Armed by the first event: until then a holding proxy gets the whole time.
    heard: () => {
      clearTimeout(silence);
      silence = setTimeout(giveUp, SILENCE_MS);
    },
    onStop: (how) => {
      stop = how;
    },
    request,
  };
}

async function eachPiece(response: Response, onPiece: (text: string) => void): Promise<void> {
  if (!response.body) return onPiece(await response.text());
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onPiece(decoder.decode(value, { stream: true }));
  }
}

function headOf(response: Response, atMs: number): Answer {
  const headers: Record<string, string> = {};
  response.headers.forEach((value, name) => {
    headers[name.toLowerCase()] = value;
  });
  return {
    atMs,
    status: response.status,
    isOurs: headers['throughline'] !== undefined,
    headers: headers satisfies Headers,
  };
}

function take(trace: StreamTrace, data: string, run: Run): void {
  try {
    const { kind, n, sentMs } = JSON.parse(data);
    if (kind === 'bye') return run.end('stopped');
    if (typeof n !== 'number' || typeof sentMs !== 'number') return keepStrange(trace, data);
    if (trace.end) return;
    trace.arrivals.push({ n, sentMs, atMs: run.now() });
    run.heard();
  } catch {
    keepStrange(trace, data);
  }
}

function keepStrange(trace: { strange: string }, text: string): void {
  trace.strange = (trace.strange + text).slice(0, STRANGE_CHARACTERS);
}

function token(): string {
  return Math.random().toString(36).slice(2) || 't';
}
