import type { CarrierName, OfflineReason } from '../../src/browser/feed.ts';
import { isEventStream, isPoll, isStream, type Rule } from './habits.ts';
import type { ProxyProgram } from './programs.ts';

/** A way from the client to the service, and what is expected of the client on it. */
export interface Route {
  readonly name: string;
  /** What stands in the way, in a few words. */
  readonly does: string;
  /** Chaos in the way; undefined: none. */
  readonly rules?: readonly Rule[];
  /** Other rules from a time on, counted from the first message. */
  readonly later?: readonly { readonly atMs: number; readonly rules: readonly Rule[] }[];
  /** A proxy of the system's in the way. */
  readonly program?: ProxyProgram;
  /** Rungs that the client may end on. */
  readonly ends: readonly CarrierName[];
  /** The latest that a message may be told after the service has it. */
  readonly withinMs: number;
  /** The same for the very first one. */
  readonly firstWithinMs?: number;
  /** When nothing can get through: lateness counts from the end of it. */
  readonly outage?: { readonly fromMs: number; readonly toMs: number };
  /** The client has to say this of itself at some time: offline, for one of these reasons. */
  readonly saysOffline?: readonly OfflineReason[];
}

/** What the service is set to for these routes. */
export const HEARTBEAT_MS = 2000;

const BUFFERED_MS = 3000;
const FIRST_MS = 1200;
const SILENT_MS = 2.5 * HEARTBEAT_MS + 3000;
/** An interruption of 15 s, the longest that is waited after it, and the time that it takes to get through. */
const BLOCKED_MS = 25_000;
const STREAMS: readonly CarrierName[] = ['sse', 'post-stream'];
const LIVE: readonly CarrierName[] = [...STREAMS, 'websocket'];
const POLLS: readonly CarrierName[] = ['long-poll', 'short-poll'];
const ANY: readonly CarrierName[] = [...LIVE, ...POLLS];

const buffers = { withinMs: BUFFERED_MS, firstWithinMs: FIRST_MS };
const cuts = { withinMs: BUFFERED_MS };
const dies = { withinMs: SILENT_MS };
const noUpgrades: Rule = { upgrades: 'refuse' };
const heldStreams: Rule = { on: isStream, hold: 'answer' };
const page = (words: string) => `<!doctype html><html><body><h1>${words}</h1></body></html>`;

/** Routes through the proxy of our own, which does one bad thing at a time, or several. */
const CHAOS: readonly Route[] = [
  { name: 'direct', does: 'nothing', ends: ['sse'], withinMs: 1000, firstWithinMs: 1000 },
  {
    name: 'slow',
    does: '300 ms each way',
    rules: [{ delayMs: { up: 300, down: 300 } }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'hold all',
    does: 'holds every answer until its end',
    rules: [{ hold: 'answer' }],
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: 'hold all, no upgrades',
    does: 'the same, and refuses WebSockets',
    rules: [{ hold: 'answer' }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'hold all, mute sockets',
    does: 'the same, with WebSockets that open and stay mute',
    rules: [{ hold: 'answer', upgrades: 'hold' }],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'headers only',
    does: 'lets headers through, holds the body',
    rules: [{ hold: 'body' }],
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: 'one behind',
    does: 'holds each event until the next one is written',
    rules: [{ hold: 'writes' }, noUpgrades],
    ends: ANY,
    ...buffers,
  },
  {
    name: '16 KB blocks',
    does: 'passes whole blocks of 16 KB',
    rules: [{ hold: 16_384 }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'cut at 10 s',
    does: 'tears every connection 10 s old',
    rules: [{ cut: { afterMs: 10_000, how: 'torn' } }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'clean cut at 12 s',
    does: 'ends every answer after 12 s as if it were whole',
    rules: [{ cut: { afterMs: 12_000, how: 'clean' } }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'idle cut at 5 s',
    does: 'tears what is silent for 5 s',
    rules: [{ cut: { idleMs: 5000, how: 'torn' } }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'idle cut at 1.5 s',
    does: 'tears what is silent for 1.5 s, less than a heartbeat',
    rules: [{ cut: { idleMs: 1500, how: 'torn' } }],
    ends: ANY,
    ...cuts,
  },
  {
    name: 'cut at 64 KB',
    does: 'tears after 64 KB',
    rules: [{ cut: { bytes: 65_536, how: 'torn' } }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'poll cut at 4 s',
    does: 'holds streams, refuses WebSockets, tears polls 4 s old',
    rules: [heldStreams, { on: isPoll, cut: { afterMs: 4000, how: 'torn' } }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'idle poll cut at 4 s',
    does: 'holds streams, refuses WebSockets, answers 504 to polls silent for 4 s',
    rules: [heldStreams, { on: isPoll, cut: { idleMs: 4000, how: 'clean' } }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'black hole at 8 s',
    does: 'tells nothing on any connection 8 s old',
    rules: [{ blackHoleAfterMs: 8000 }],
    ends: ANY,
    ...dies,
  },
  {
    name: 'black hole, 20–30 s',
    does: 'everything disappears without a word for 10 s',
    rules: [],
    // Also those that were open before: they are older than 0 ms.
    later: [
      { atMs: 20_000, rules: [{ blackHoleAfterMs: 0 }] },
      { atMs: 30_000, rules: [] },
    ],
    outage: { fromMs: 20_000, toMs: 30_000 },
    ends: ANY,
    ...dies,
  },
  {
    name: 'text filter',
    does: 'holds text/event-stream, passes octet-stream',
    rules: [{ on: isEventStream, hold: 'answer' }],
    ends: ['post-stream'],
    ...buffers,
  },
  {
    name: '407, 10–25 s',
    does: 'answers 407 to everything for 15 s',
    rules: [],
    later: [
      {
        atMs: 10_000,
        rules: [
          { answer: { status: 407, html: page('Who are you?') } },
          { cut: { afterMs: 0, how: 'torn' } },
        ],
      },
      { atMs: 25_000, rules: [] },
    ],
    outage: { fromMs: 10_000, toMs: 25_000 },
    // fetch() takes a 407 for no answer at all.
    saysOffline: ['blocked', 'unreachable'],
    ends: ANY,
    withinMs: BLOCKED_MS,
  },
  {
    name: '403, 10–25 s',
    does: 'answers 403 to everything for 15 s',
    rules: [],
    later: [
      {
        atMs: 10_000,
        rules: [{ answer: { status: 403, html: page('Forbidden') } }, { cut: { afterMs: 0, how: 'torn' } }],
      },
      { atMs: 25_000, rules: [] },
    ],
    outage: { fromMs: 10_000, toMs: 25_000 },
    saysOffline: ['blocked'],
    ends: ANY,
    withinMs: BLOCKED_MS,
  },
  {
    name: '502 for streams',
    does: 'answers 502 to streams',
    rules: [{ on: isStream, answer: { status: 502, html: page('Bad gateway') } }],
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: '503, 10–15 s',
    does: 'answers 503 to everything for 5 s',
    rules: [],
    later: [
      {
        atMs: 10_000,
        rules: [{ answer: { status: 503, html: page('Maintenance') } }, { cut: { afterMs: 0, how: 'torn' } }],
      },
      { atMs: 15_000, rules: [] },
    ],
    outage: { fromMs: 10_000, toMs: 15_000 },
    ends: ANY,
    // By then every rung was found blocked several times, and waits are drawn from up to that.
    withinMs: BLOCKED_MS,
  },
  {
    name: 'garbage',
    does: 'answers 200 and a page of its own to streams',
    rules: [
      { on: isStream, answer: { status: 200, html: page('Welcome to the guest network') } },
      noUpgrades,
    ],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'broken chunks',
    does: 'breaks streams off in the middle of a chunk after 5 s',
    rules: [{ on: isStream, cut: { afterMs: 5000, how: 'broken-chunk' } }],
    ends: ANY,
    ...cuts,
  },
  {
    name: 'broken at once',
    does: 'breaks streams off after 0.2 s, behind hello',
    rules: [{ on: isStream, cut: { afterMs: 200, how: 'broken-chunk' } }],
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: 'repeats GETs',
    does: 'sends each GET to the service every 4 s, three times, then answers 504; holds streams, refuses WebSockets',
    rules: [heldStreams, { repeat: { everyMs: 4000, times: 3 } }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'caches polls',
    does: 'answers the same URL from memory; holds streams, refuses WebSockets',
    rules: [heldStreams, { on: isPoll, cacheMs: 600_000 }, noUpgrades],
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'gzip',
    does: 'compresses and never flushes',
    rules: [{ gzip: true }],
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: 'HTTP/1.0',
    does: 'speaks HTTP/1.0 to the service',
    rules: [{ http10: true }],
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'stripped headers',
    does: 'takes away headers that it doesn’t know, and those on caching',
    rules: [
      {
        strip: {
          request: ['accept', 'cache-control', 'last-event-id', 'pragma', 'origin'],
          answer: ['throughline', 'cache-control', 'x-accel-buffering', 'content-encoding', 'retry-after'],
        },
      },
    ],
    ends: LIVE,
    ...cuts,
  },
  {
    name: 'starts to hold at 20 s',
    does: 'passes everything, and from second 20 on holds every answer, also those under way',
    rules: [],
    later: [{ atMs: 20_000, rules: [{ hold: 'answer' }] }],
    ends: ['websocket'],
    ...dies,
  },
  {
    name: 'heals at 30 s',
    does: 'holds every answer and refuses WebSockets, until second 30',
    rules: [{ hold: 'answer' }, noUpgrades],
    later: [{ atMs: 30_000, rules: [] }],
    ends: ANY,
    ...buffers,
  },
  {
    name: 'refuses 64 KB',
    does: 'holds streams, refuses WebSockets and answers above 64 KB; black hole from second 10 to 25',
    rules: [heldStreams, { maxAnswerBytes: 65_536 }, noUpgrades],
    later: [
      { atMs: 10_000, rules: [{ blackHoleAfterMs: 0 }, noUpgrades] },
      { atMs: 25_000, rules: [heldStreams, { maxAnswerBytes: 65_536 }, noUpgrades] },
    ],
    outage: { fromMs: 10_000, toMs: 25_000 },
    ends: POLLS,
    ...dies,
    firstWithinMs: FIRST_MS,
  },
];

const NGINX = ['-p', '{folder}', '-c', '{configuration}', '-e', '{folder}/error.log'];
const SQUID = ['-N', '-n', '{name}', '-f', '{configuration}'];
const MITMDUMP = [
  ...[
    '-q',
    '--mode',
    'reverse:http://127.0.0.1:{service}',
    '--listen-host',
    '127.0.0.1',
    '--listen-port',
    '{port}',
  ],
  ...['--set', 'confdir={folder}'],
];

/** Routes through proxies of the system's packages. */
const REAL: readonly Route[] = [
  {
    name: 'squid, in front',
    does: 'Squid as an accelerator with its defaults; reads on what clients leave',
    program: { program: 'squid', configuration: 'squid-accelerator.conf', args: SQUID },
    ends: ANY,
    ...buffers,
  },
  {
    name: 'squid, in an office',
    does: 'Squid as a forward proxy; ends connections after 20 s, and what is silent for 8 s',
    program: { program: 'squid', configuration: 'squid-forward.conf', args: SQUID, isForward: true },
    ends: ANY,
    ...buffers,
  },
  {
    name: 'nginx, hostile',
    does: 'nginx that buffers, compresses, ignores X-Accel-Buffering, and cuts what is silent for 10 s',
    program: { program: 'nginx', configuration: 'nginx-hostile.conf', args: NGINX },
    ends: POLLS,
    ...buffers,
  },
  {
    name: 'nginx, default',
    does: 'nginx with a proxy_pass and nothing else',
    program: { program: 'nginx', configuration: 'nginx-default.conf', args: NGINX },
    ends: ['sse'],
    ...buffers,
  },
  {
    name: 'haproxy, short time-outs',
    does: 'HAProxy that cuts what is silent for 5 s, and WebSockets for 8 s',
    program: {
      program: 'haproxy',
      configuration: 'haproxy-short.cfg',
      args: ['-db', '-f', '{configuration}'],
    },
    ends: ['sse'],
    ...cuts,
  },
  {
    name: 'haproxy, compressing',
    does: 'HAProxy that compresses, and cuts what is silent for 1.5 s',
    program: {
      program: 'haproxy',
      configuration: 'haproxy-compressing.cfg',
      args: ['-db', '-f', '{configuration}'],
    },
    ends: ANY,
    ...buffers,
  },
  {
    name: 'mitmproxy',
    does: 'mitmproxy, which holds whole bodies',
    program: { program: 'mitmdump', args: MITMDUMP },
    ends: ['websocket'],
    ...buffers,
  },
  {
    name: 'mitmproxy, no WebSockets',
    does: 'the same, behind a proxy that refuses WebSockets',
    rules: [noUpgrades],
    program: { program: 'mitmdump', args: MITMDUMP },
    ends: POLLS,
    ...buffers,
  },
];

/** Every route of the gauntlet. */
export const ROUTES: readonly Route[] = [...CHAOS, ...REAL];
