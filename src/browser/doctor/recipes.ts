import type { Diagnosis, Finding, ProxyKind } from './trace.ts';
import { PAGE } from './words.ts';

/** What an administrator could change. `code` is an example of a configuration. */
export interface Recipe {
  readonly advice: readonly string[];
  readonly code?: string;
}

const BY_PROXY: Readonly<Record<Exclude<ProxyKind, 'none' | 'unknown'>, Recipe>> = {
  nginx: {
    advice: [
      'The service sends X-Accel-Buffering: no. Let nginx honour it (no proxy_ignore_headers for it), or turn buffering off outright.',
      'Wait longer than the service’s heartbeat, and let upgrades pass.',
    ],
    code: `# beside the server block:
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }

location / {                       # where the chat is
    proxy_pass http://127.0.0.1:3000;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_buffering off;
    proxy_read_timeout 75s;
    gzip off;
}`,
  },
  apache: {
    advice: [
      'Keep mod_deflate and mod_buffer away from the API, wait longer than the heartbeat, and let upgrades pass (2.4.47 or later).',
    ],
    code: `ProxyTimeout 75
ProxyPass / http://127.0.0.1:3000/ upgrade=websocket
SetEnvIf Request_URI "/api/" no-gzip=1 no-brotli=1`,
  },
  haproxy: {
    advice: [
      'Time-outs must be longer than the heartbeat (15 s) and the longest poll (25 s). Leave compression off for the API.',
    ],
    code: `defaults
    timeout client  75s
    timeout server  75s
    timeout tunnel  1h        # WebSockets
    option http-no-delay`,
  },
  squid: {
    advice: [
      'Squid itself lets streams pass. What holds them is usually an ICAP or eCAP scanner behind it: exempt the chat’s host from adaptation and from the cache.',
    ],
    code: `acl chat dstdomain chat.example.org
cache deny chat
adaptation_access <your_scanner> deny chat
read_timeout 5 minutes`,
  },
  varnish: {
    advice: ['Pass the API uncached and as it comes, and pipe upgrades.'],
    code: `sub vcl_recv {
    if (req.http.Upgrade ~ "(?i)websocket") { return (pipe); }
    if (req.url ~ "/api/") { return (pass); }
}
sub vcl_pipe {
    if (req.http.Upgrade) { set bereq.http.Upgrade = req.http.Upgrade; set bereq.http.Connection = req.http.Connection; }
}
sub vcl_backend_fetch {
    set bereq.first_byte_timeout = 75s;
    set bereq.between_bytes_timeout = 75s;
}
sub vcl_backend_response { set beresp.do_stream = true; }`,
  },
  iis: {
    advice: [
      'Server Proxy Settings of Application Request Routing: set the response buffer threshold to 0 and the time-out to 75 seconds or more.',
      'Install the WebSocket Protocol feature. Turn dynamic compression off for text/event-stream.',
    ],
  },
  envoy: {
    advice: [
      'No route time-out, a stream idle time-out above the heartbeat, upgrades allowed, and no buffer filter for the API.',
    ],
    code: `route: { cluster: chat, timeout: 0s, idle_timeout: 75s }
# in the HTTP connection manager:
stream_idle_timeout: 75s
upgrade_configs: [{ upgrade_type: websocket }]`,
  },
  cloudflare: {
    advice: [
      'Turn WebSockets on (Network settings), and leave response buffering off for the chat’s host.',
      'A tunnel may hold streams that are asked for by GET; the client then uses POST or a WebSocket by itself.',
    ],
  },
  mitmproxy: {
    advice: ['It collects whole answers unless told to stream them. Stream them, or leave the host alone.'],
    code: `# stream.py, for mitmproxy -s stream.py
def responseheaders(flow):
    flow.response.stream = True

# or: mitmproxy --ignore-hosts '^chat\\.example\\.org:'`,
  },
  scanner: {
    advice: [
      'A filter reads answers to their end before it lets them go, which a stream never reaches. Exempt this host from content scanning and from TLS inspection, or let text/event-stream and application/octet-stream pass as they come (“streaming”, “trickling”).',
    ],
  },
};

/** What an administrator could change, for the proxy that was recognised, or else for what it does. */
export function recipeFor({ findings, proxy, idleCutMs, httpVersion }: Diagnosis): Recipe {
  const isAllWell = findings.every(({ verdict, needs, isOff }) => isOff || (verdict === 'arrives' && !needs));
  if (isAllWell) return { advice: [PAGE.noChange] };
  const known = proxy === 'none' || proxy === 'unknown' ? undefined : BY_PROXY[proxy];
  const advice = [...(known?.advice ?? []), ...adviceOnBehaviour(findings, known !== undefined)];
  if (idleCutMs !== undefined)
    advice.push('Let connections be quiet for at least 75 s before they are closed.');
  if (httpVersion === '1.0') advice.push('Let the proxy speak HTTP/1.1 to the service.');
  return known?.code === undefined ? { advice } : { advice, code: known.code };
}

function adviceOnBehaviour(findings: readonly Finding[], isKnown: boolean): string[] {
  const of = (carrier: Finding['carrier']) => findings.find((one) => one.carrier === carrier);
  const streams = [of('sse'), of('post-stream')];
  const isHeld = streams.some((one) => one?.verdict === 'held' || one?.verdict === 'delayed');
  const advice: string[] = [];
  if (isHeld && !isKnown)
    advice.push(
      'Something collects answers before it lets them go: a reverse proxy’s response buffering or compression, an antivirus, or a content filter. Turn that off for this host’s api/ paths.',
    );
  if (findings.some(({ verdict, atMs }) => verdict === 'cut' && atMs !== undefined))
    advice.push('Something ends connections early. Raise its time-outs above 75 s for this host.');
  if (findings.some(({ status }) => status === 407))
    advice.push('The proxy asks for a log-in of its own (407). Log in to it, or exempt this host.');
  const isForeign = ({ verdict, status }: Finding) =>
    verdict === 'altered' || (verdict === 'refused' && status !== undefined && status !== 407);
  if (findings.some(isForeign))
    advice.push('Something answers in the service’s place. Allow this host’s api/ paths, by GET and POST.');
  if (findings.some(({ verdict, fault }) => verdict === 'unreachable' && !fault))
    advice.push(
      'Requests stay without an answer. Allow this host in firewalls; a proxy that wants a log-in of its own (407) looks the same to a page.',
    );
  const socket = of('websocket');
  if (socket && socket.verdict !== 'arrives' && !socket.isOff && !isKnown)
    advice.push(
      'Let requests with Upgrade: websocket pass. The chat does without, if something else arrives.',
    );
  return advice;
}
