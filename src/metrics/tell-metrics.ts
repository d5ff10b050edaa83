import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listen } from '../http/listen.ts';
import { isSame } from '../http/same.ts';
import type { Log } from '../log/logger.ts';
import { EXPOSITION_TYPE } from './samples.ts';

/** Who may read the metrics, and where. */
export interface MetricsOptions {
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  readonly metricsToken: string | undefined;
}

/** Answers a request for the metrics; calls `next` for whoever hasn't the token. */
export type TellMetrics = (req: IncomingMessage, res: ServerResponse, next: () => void) => Promise<void>;

/** Reads the metrics as they are now, in Prometheus' text format. */
export type ReadMetrics = () => Promise<string>;

/** A port that only tells the metrics. */
export interface MetricsPort {
  readonly url: string;
  /** Safe to call twice. */
  close(): void;
}

const PATH = '/metrics';
/** Whoever opens a connection to the port and says nothing is let go. */
const REQUEST_WITHIN_MS = 10_000;

/** [spec] RFC 6750, 2.1: `Authorization: Bearer <token>`. Whoever hasn't it doesn't learn that there is something. */
export function tellMetrics(read: ReadMetrics, token: string | undefined): TellMetrics {
  return async (req, res, next) => {
    const given = /^Bearer +(.*)$/i.exec(req.headers.authorization ?? '')?.[1] ?? '';
    if (token !== undefined && !isSame(given, token)) return next();
    const text = await read();
    res.setHeader('Content-Type', EXPOSITION_TYPE);
    res.setHeader('Cache-Control', 'no-store');
    res.end(req.method === 'HEAD' ? undefined : text);
  };
}

/** Opens the port that the settings want; undefined if none. Throws a StartError if it can't be had. */
export async function openMetricsPort(
  { metricsPort, metricsHost, metricsToken }: MetricsOptions,
  read: ReadMetrics,
  log: Log,
): Promise<MetricsPort | undefined> {
  if (metricsPort === undefined) return undefined;
  const server = createMetricsServer(tellMetrics(read, metricsToken), log);
  await listen(server, metricsPort, metricsHost);
  const url = urlOf(server);
  log.info({ url }, 'the metrics are told there');
  return {
    url,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function createMetricsServer(tell: TellMetrics, log: Log): Server {
  return createServer({ requestTimeout: REQUEST_WITHIN_MS }, (req, res) => {
    const isAsked = req.url?.split('?', 1)[0] === PATH && (req.method === 'GET' || req.method === 'HEAD');
    const decline = () =>
      void res.writeHead(404, { 'Content-Type': 'text/plain' }).end('There is nothing here.\n');
    if (!isAsked) return decline();
    tell(req, res, decline).catch((error: unknown) => {
      log.error({ err: error }, 'the metrics couldn’t be read');
      res.destroy();
    });
  });
}

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}${PATH}`;
}
