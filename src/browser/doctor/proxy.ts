import type { Answer, Evidence, Headers, ProxyKind } from './trace.ts';

interface Marks {
  readonly answer: Headers;
  readonly request: Headers;
  /** The beginning of a body that isn't the service's. */
  readonly page: string;
}

const has = (headers: Headers, name: string, pattern = /./) => pattern.test(headers[name] ?? '');
const via = ({ answer, request }: Marks, pattern: RegExp) =>
  has(answer, 'via', pattern) || has(request, 'via', pattern);

const SCANNERS =
  /blue ?coat|zscaler|websense|forcepoint|mcafee|skyhigh|web ?gateway|fortinet|fortigate|fortiguard|sophos|ironport|trend ?micro|iwsva|barracuda|palo alto|check ?point|kaspersky|bitdefender|\beset\b|avast|smoothwall|e2guardian|dansguardian|privoxy|c-icap|netskope|cisco umbrella/i;

/** The more a mark says, the further up it stands: what filters content matters more than what passes it on. */
const SIGNS: readonly (readonly [ProxyKind, (marks: Marks) => boolean])[] = [
  [
    'scanner',
    (m) =>
      has(m.answer, 'x-bluecoat-via') ||
      has(m.request, 'x-bluecoat-via') ||
      has(m.request, 'x-zscaler-client-ip') ||
      has(m.request, 'x-iwproxy-nesting') ||
      has(m.request, 'x-imforwards') ||
      has(m.request, 'x-mcproxyfilter') ||
      via(m, SCANNERS) ||
      has(m.answer, 'server', SCANNERS) ||
      SCANNERS.test(m.page),
  ],
  [
    'mitmproxy',
    (m) => has(m.answer, 'server', /mitmproxy/i) || via(m, /mitmproxy/i) || /mitmproxy/i.test(m.page),
  ],
  [
    'squid',
    (m) =>
      has(m.answer, 'x-squid-error') ||
      has(m.answer, 'x-cache-lookup') ||
      via(m, /squid/i) ||
      has(m.answer, 'server', /squid/i) ||
      has(m.answer, 'cache-status', /squid/i) ||
      has(m.request, 'cache-control', /max-age=259200/) ||
      /squid/i.test(m.page),
  ],
  [
    'cloudflare',
    (m) =>
      has(m.answer, 'cf-ray') ||
      has(m.request, 'cf-ray') ||
      has(m.answer, 'server', /cloudflare/i) ||
      has(m.request, 'cdn-loop', /cloudflare/i),
  ],
  [
    'varnish',
    (m) =>
      has(m.answer, 'x-varnish') ||
      has(m.request, 'x-varnish') ||
      via(m, /varnish/i) ||
      /varnish/i.test(m.page),
  ],
  [
    'iis',
    (m) =>
      has(m.request, 'x-arr-log-id') ||
      has(m.answer, 'server', /microsoft-iis/i) ||
      has(m.answer, 'x-powered-by', /\bARR\b/i),
  ],
  [
    'envoy',
    (m) =>
      has(m.answer, 'server', /envoy/i) ||
      has(m.answer, 'x-envoy-upstream-service-time') ||
      has(m.request, 'x-envoy-external-address'),
  ],
  ['nginx', (m) => has(m.answer, 'server', /nginx|openresty/i) || />(nginx|openresty)[/<]/i.test(m.page)],
  [
    'apache',
    (m) =>
      has(m.answer, 'server', /apache/i) ||
      via(m, /apache/i) ||
      (has(m.request, 'x-forwarded-server') && has(m.request, 'x-forwarded-host')),
  ],
  [
    'haproxy',
    (m) =>
      has(m.answer, 'server', /haproxy/i) ||
      via(m, /haproxy/i) ||
      /No server is available to handle this request|The server didn't respond in time/.test(m.page),
  ],
];

const PROXY_REQUEST_HEADERS = [
  'via',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-real-ip',
  'proxy-connection',
  'max-forwards',
];
const PROXY_ANSWER_HEADERS = ['via', 'server', 'x-cache', 'age', 'x-forwarded-for'];

/** Which proxy is on the way, by what it left; `unknown` if something is, `none` if nothing tells of one. */
export function nameProxy(evidence: Evidence, isAllWell: boolean): ProxyKind {
  const traces = [...evidence.streams, ...evidence.heldPolls, ...evidence.shortPolls];
  const answers = [evidence.echoAnswer, ...traces.map(({ answer }) => answer)].filter(
    (answer): answer is Answer => answer !== undefined,
  );
  const pages = traces.map(({ strange }) => strange);
  const request = evidence.echo?.headers ?? {};
  const all: Marks[] = [
    ...answers.map(({ headers }) => ({ answer: headers, request, page: '' })),
    ...pages.map((page) => ({ answer: {}, request, page })),
  ];
  for (const [kind, isOne] of SIGNS) if (all.some(isOne)) return kind;
  const isMarked =
    PROXY_REQUEST_HEADERS.some((name) => name in request) ||
    answers.some(({ headers }) => PROXY_ANSWER_HEADERS.some((name) => name in headers));
  return isMarked || !isAllWell ? 'unknown' : 'none';
}
