import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request,
} from 'node:http';
import { connect } from 'node:net';
import { Duplex, Transform } from 'node:stream';

/** Where a proxy sends what it is asked. */
export interface NextHop {
  readonly port: number;
  /** The hop is a forward proxy, and this is the port of the service that it is asked for. */
  readonly forwardsTo?: number;
}

/** What is asked of the next hop. */
export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly http10: boolean;
  /** Keeps connections to the next hop. */
  readonly agent: Agent;
}

// Below the 5 s for which Node's own servers keep an idle connection: they close it without asking.
const IDLE_MS = 2000;

/** Connections to the next hop, kept for a while like any proxy does: connecting is what costs most here. */
export function keptConnections(): Agent {
  return new Agent({ keepAlive: true, timeout: IDLE_MS });
}

/** [spec] RFC 9110, 7.6.1: these are for one connection, never passed on. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'];

/** Sends a request on. */
export function ask(hop: NextHop, { method, target, headers, body, http10, agent }: Asked): ClientRequest {
  const upstream = request({
    host: '127.0.0.1',
    port: hop.port,
    method,
    path: targetFor(hop, target),
    headers: { ...headers, ...(body.length > 0 && { 'content-length': body.length }) },
    ...(http10 ? { createConnection: () => speakingHttp10(hop.port) } : { agent }),
  });
  upstream.end(body);
  return upstream;
}

/** [spec] RFC 9112, 3.2.2: a forward proxy is asked in the absolute form. */
export function targetFor(hop: NextHop, target: string): string {
  return hop.forwardsTo === undefined ? target : `http://127.0.0.1:${hop.forwardsTo}${target}`;
}

/** The headers without those of the connection, and without some more. */
export function passedOn(
  headers: IncomingHttpHeaders,
  stripped: readonly string[] = [],
): OutgoingHttpHeaders {
  const isPassed = ([name]: [string, unknown]) => !HOP_BY_HOP.includes(name) && !stripped.includes(name);
  return Object.fromEntries(Object.entries(headers).filter(isPassed));
}

function speakingHttp10(port: number): Duplex {
  const socket = connect(port, '127.0.0.1');
  let isFirst = true;
  const aged = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const text = chunk.toString('latin1');
      done(null, isFirst ? Buffer.from(text.replace(/ HTTP\/1\.1\r\n/, ' HTTP/1.0\r\n'), 'latin1') : chunk);
      isFirst = false;
    },
  });
  aged.pipe(socket);
  const duplex = Duplex.from({ readable: socket, writable: aged });
  duplex.once('close', () => socket.destroy());
  socket.on('error', (error) => duplex.destroy(error));
  return duplex;
}
