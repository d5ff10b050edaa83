import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listen } from '../http/listen.ts';
import { isSame } from '../http/same.ts';
import type { Log } from '../log/logger.ts';
import { Metrics, type MetricsSources } from './metrics.ts';

interface MetricsOptions {
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  readonly metricsToken: string | undefined;
}

/** Metrics that can be scraped. */
export interface OpenMetrics {
  /** For `GET /metrics` of the service itself; undefined where there is no token. Calls `next` for whoever hasn't it. */
  readonly tell: TellMetrics | undefined;
  /** Where they are on a port of their own; undefined without one. */
  readonly url: string | undefined;
  /** Safe to call twice. */
  close(): void;
}

type TellMetrics = (req: IncomingMessage, res: ServerResponse, next: () => void) => Promise<void>;

const PATH = '/metrics';
/** Whoever opens a connection to the port and says nothing is let go. */
const REQUEST_WITHIN_MS = 10_000;

/** Opens the metrics where the settings want them; undefined if nowhere. Throws a StartError if the port can't be had. */
export async function openMetrics(
  options: MetricsOptions,
  sources: MetricsSources,
  log: Log,
): Promise<OpenMetrics | undefined> {
  const { metricsPort, metricsHost, metricsToken } = options;
  if (metricsPort === undefined && metricsToken === undefined) return undefined;
  const metrics = new Metrics(sources);
  const tell = tellTo(metrics, metricsToken);
  try {
    const server = metricsPort === undefined ? undefined : createMetricsServer(tell, log);
    if (server !== undefined) await listen(server, metricsPort as number, metricsHost);
    const url = server && urlOf(server);
    if (url !== undefined) log.info({ url }, 'the metrics are told there');
    return {
      tell: metricsToken === undefined ? undefined : tell,
      url,
      close: () => {
        metrics.close();
        server?.close();
        server?.closeAllConnections();
      },
    };
  } catch (error) {
    metrics.close();
    throw error;
  }
}

/** [spec] RFC 6750, 2.1: `Authorization: Bearer <token>`. Whoever hasn't it doesn't learn that there is something. */
function tellTo(metrics: Metrics, token: string | undefined): TellMetrics {
  return async (req, res, next) => {
    const given = /^Bearer +(.*)$/i.exec(req.headers.authorization ?? '')?.[1] ?? '';
    if (token !== undefined && !isSame(given, token)) return next();
    const text = await metrics.read();
    res.setHeader('Content-Type', metrics.contentType);
    res.setHeader('Cache-Control', 'no-store');
    res.end(req.method === 'HEAD' ? undefined : text);
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
