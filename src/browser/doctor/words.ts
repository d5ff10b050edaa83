import type { Finding, ProbedCarrier, ProxyKind, Verdict } from './trace.ts';

/** Seconds as people say them. */
export function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

export const CARRIERS: Readonly<Record<ProbedCarrier | 'none', { name: string; what: string }>> = {
  sse: {
    name: 'Event stream',
    what: 'One answer that never ends; each message is written into it (Server-Sent Events).',
  },
  'post-stream': {
    name: 'Stream by POST',
    what: 'The same stream, asked for by POST and sent as plain bytes: some filters look only at text.',
  },
  websocket: { name: 'WebSocket', what: 'A connection of its own kind, which a proxy must agree to.' },
  'long-poll': {
    name: 'Long poll',
    what: 'A question that is answered once there is news; then the next.',
  },
  'short-poll': { name: 'Short poll', what: 'A quick question every few seconds.' },
  none: { name: 'None', what: '' },
};

export const VERDICTS: Readonly<Record<Verdict, string>> = {
  arrives: 'Arrives',
  delayed: 'Comes late',
  held: 'Held back',
  cut: 'Cut off',
  refused: 'Refused',
  altered: 'Altered',
  unreachable: 'No answer',
};

export const PROXIES: Readonly<Record<ProxyKind, string>> = {
  nginx: 'nginx',
  apache: 'Apache httpd',
  haproxy: 'HAProxy',
  squid: 'Squid',
  varnish: 'Varnish',
  iis: 'IIS with Application Request Routing',
  envoy: 'Envoy',
  cloudflare: 'Cloudflare',
  mitmproxy: 'mitmproxy',
  scanner: 'a content scanner',
  unknown: 'a proxy that doesn’t say what it is',
  none: 'none that shows',
};

const STATUSES: Readonly<Record<number, string>> = {
  0: 'with a redirection elsewhere',
  403: 'with status 403: forbidden',
  407: 'with status 407: a proxy on the way wants you to log in to it first',
  502: 'with status 502: a proxy couldn’t reach the service',
  503: 'with status 503: a proxy says the service isn’t available',
  504: 'with status 504: a proxy lost patience',
};

/** What the network does to a carrier, in one or two sentences. */
export function explain(finding: Finding): string {
  const { verdict, latencyMs, atMs, status, needs, fault, carrier, isMute, isOff, changedHeaders } = finding;
  const changed = changedHeaders
    ? ` On the way these headers were changed: ${changedHeaders.join(', ')}.`
    : '';
  if (isOff) return 'Switched off at this service.';
  if (fault === 'stopped')
    return 'The service itself was stopped meanwhile, so this says nothing of the network.';
  if (fault === 'busy') return 'The service is examining too many browsers just now. Try again in a minute.';
  switch (verdict) {
    case 'arrives':
      if (needs === 'dripping')
        return `Arrives if blanks drip into the answer meanwhile; quiet ones are closed${after(atMs)}.`;
      if (needs === 'short holds')
        return `Arrives if it isn’t held for long; longer ones are closed${after(atMs)}.`;
      return `Arrives at once, within ${latencyMs ?? 0} ms.${changed}`;
    case 'delayed':
      return `Arrives, but in clumps: up to ${seconds(latencyMs ?? 0)} late.${changed}`;
    case 'held':
      return atMs === undefined
        ? `Nothing came through: something holds the answer back.${changed}`
        : `Held back: nothing came singly, and all of it only after ${seconds(atMs)}.${changed}`;
    case 'cut':
      if (isMute) return `Began well, and fell silent${after(atMs)}: nobody said that it was over.${changed}`;
      return needs === 'rotation'
        ? `Arrives at once, and is cut off${after(atMs)}. It can be renewed each time before that.${changed}`
        : `Cut off${after(atMs)}.${changed}`;
    case 'refused':
      if (status === undefined)
        return carrier === 'websocket'
          ? 'The upgrade to a WebSocket was declined on the way.'
          : 'Refused on the way.';
      return `Somebody else answered in the service’s place, ${STATUSES[status] ?? `with status ${status}`}.`;
    case 'altered':
      return 'Something came that the service didn’t send.';
    case 'unreachable':
      return 'No answer at all.';
    default:
      return verdict satisfies never;
  }
}

function after(ms: number | undefined): string {
  return ms === undefined ? '' : ` after ${seconds(ms)}`;
}

/** The conclusion's heading and what it means for people. */
export function conclude(
  carrier: ProbedCarrier | 'none',
  needs: Finding['needs'],
): { title: string; text: string } {
  switch (carrier) {
    case 'none':
      return {
        title: 'Nothing gets through here',
        text: 'Neither streams nor questions are answered in time. The page without script (plain/lobby) may still work. What an administrator could change stands below.',
      };
    case 'short-poll':
      return {
        title: 'The chat will ask every few seconds',
        text: 'Everything lasting is held back or cut here. Messages come a little late, and none is lost.',
      };
    case 'long-poll':
      return {
        title: 'The chat will use long polls',
        text:
          needs === 'dripping'
            ? 'Streams don’t come through, questions that wait do, as long as blanks drip meanwhile. You won’t notice a difference.'
            : needs === 'short holds'
              ? 'Streams don’t come through; questions that wait for a short while do. You will hardly notice a difference.'
              : 'Streams don’t come through, questions that wait do. You won’t notice a difference.',
      };
    default: {
      const name = CARRIERS[carrier].name;
      const title =
        carrier === 'sse' && !needs
          ? 'All is well: the chat will use its event stream'
          : `The chat will use: ${name}`;
      return {
        title,
        text:
          needs === 'rotation'
            ? 'Connections are cut here after a while; the client opens the next one before that. Nothing is lost, and you won’t notice.'
            : carrier === 'sse'
              ? 'Messages arrive the moment they are sent.'
              : 'The usual stream doesn’t come through here, this does. Messages arrive the moment they are sent.',
      };
    }
  }
}

export const PAGE = {
  examining: 'Examining…',
  patience: 'This takes half a minute. You may stay or look away; leave the page open.',
  busy: (done: number, all: number) => `Examining… ${done} of ${all} ways are done`,
  used: 'Will be used',
  picture: (name: string, said: string) => `${name}, when events were sent and when they arrived: ${said}`,
  listening: (got: number, due: number) => `Listening: ${got} of ${due} events so far.`,
  asking: 'Waiting for the answer…',
  waiting: 'Not begun yet.',
  unproven: 'Nothing has come so far.',
  spoilt: {
    title: 'The service went away meanwhile',
    text: 'It was stopped, restarted or couldn’t be reached at the end, so this tells nothing about the network. Examine again in a minute.',
  },
  offline: {
    title: 'The service can’t be reached',
    text: 'No answer of any kind came. Is this device online? Examine again when it is.',
  },
  failed: 'The examination itself failed, which is a fault of this page. Reload it to try again.',
  sentRow: 'sent',
  arrivedRow: 'arrived',
  pollRows: { plain: 'quiet', dripping: 'dripping', short: 'brief', atOnce: 'asked' },
  proxy: (name: string) => `On the way: ${name}.`,
  idle: (ms: number) =>
    `Connections that are quiet for ${seconds(ms)} are closed here. The client notices, and asks for a sign of life more often.`,
  http10: 'The service is asked in HTTP/1.0, which knows neither WebSockets nor open-ended answers well.',
  noChange: 'Nothing needs to be changed.',
  copied: 'Copied.',
  copyByHand: 'Copying isn’t allowed here: the text is selected, press Ctrl+C (or ⌘C).',
  sending: 'Sending…',
  sent: 'Thank you. It has been counted.',
  needsLogin:
    'Only people who are logged in can send it: enter your name on the chat page, then come back and send.',
  tooFast: (s: number) => `One report a minute is enough. Try again in ${s} s.`,
  notSent: 'It couldn’t be sent: the service didn’t answer.',
  refusedSend: (code: string) => `The service didn’t take it (${code}).`,
} as const;

export const REPORT = {
  title: 'Throughline: what this network does to the chat',
  of: 'Of',
  at: 'At',
  uses: 'The client will use',
  proxy: 'Proxy',
  browser: 'Browser',
  spoilt: 'Spoilt: the service went away meanwhile.',
  httpVersion: 'Reaches the service as HTTP',
  idle: 'Quiet connections are closed after',
  requestHeaders: 'Request headers as the service saw them',
  answerHeaders: 'Answer headers as the browser saw them',
} as const;
