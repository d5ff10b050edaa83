import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer as createPlainServer, type IncomingMessage } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Config } from './config.ts';
import { createApp, serverFactory } from './http/app-server.ts';
import { asksForWebSocket, ignoreUpgrade } from './http/ignore-upgrades.ts';
import { listen } from './http/listen.ts';
import { OpenConnections } from './http/open-connections.ts';
import type { Log } from './log/logger.ts';
import { StartError } from './log/start-error.ts';
import type { Samples } from './metrics/samples.ts';
import type { ReadMetrics } from './metrics/tell-metrics.ts';
import { openService } from './open-service.ts';

/** A service that listens. */
export interface RunningServer {
  /** Where it is reached from this machine, with the base path and without a slash at the end. */
  readonly url: string;
  /** Where plain HTTP is sent on from, if it is. */
  readonly redirectUrl: string | undefined;
  /** Where its metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** Its own metrics, also after `close`; undefined where nobody wants them. */
  readonly readOwnMetrics: (() => Promise<Samples>) | undefined;
  /** How many readers it has now: streams, sockets, and polls under way. */
  readonly readers: number;
  /**
   * Stops accepting, says `bye`, finishes posts in flight, leaves Redis. Idle connections are ended after `idleMs`
   * milliseconds (0: at once). Safe to call twice, also to end those sooner.
   */
  close(idleMs?: number): Promise<void>;
}

const CERTIFICATE_CHECK_MS = 5000;
/** Nothing is under way where everybody is sent away. */
const REDIRECT_DRAIN_MS = 1000;

/** Starts the service and its server. Throws a StartError, or the reason of a signal that gave the start up; then nothing is left running. `readAllMetrics`: as a worker, whose scrapes tell of all. */
export async function startServer(
  config: Config,
  log: Log,
  signal?: AbortSignal,
  readAllMetrics?: ReadMetrics,
): Promise<RunningServer> {
  const connections = new OpenConnections();
  const service = await openService(config, log, { signal, readAllMetrics, connections });
  let stopListening = async () => {};
  try {
    const app = createApp(config);
    let { router } = service;
    app.use(config.basePath || '/', (req, res, next) => router(req, res, next));
    const createServer = serverFactory(app);
    if (config.warmUp === 'on') {
      await service.warmUp(
        createServer,
        (other) => {
          router = other;
        },
        signal,
      );
      signal?.throwIfAborted();
      router = service.router;
    }
    const tls =
      config.tlsCert !== undefined && config.tlsKey !== undefined
        ? { cert: config.tlsCert, key: config.tlsKey }
        : undefined;
    const server = createServer(tls && certificate(tls));
    connections.attend(server);
    server.on('upgrade', (req, socket, head) => {
      if (asksForWebSocket(req)) service.upgrade(req, socket, head);
      else ignoreUpgrade(server, req, socket, head);
    });
    const stopWatching = tls ? watchCertificate(tls, server as TlsServer, log) : () => {};
    stopListening = async () => {
      stopWatching();
      service.endReaders();
      await connections.close(0, 0);
    };
    await listen(server, config.port, config.host);
    const { port } = server.address() as AddressInfo;
    const redirect = config.httpRedirectPort === undefined ? undefined : await redirectTo(port, config);
    const host = ['0.0.0.0', '::'].includes(config.host) ? 'localhost' : config.host;
    let closing: Promise<void> | undefined;
    const close = async (idleMs: number) => {
      stopWatching();
      // First, so that polls are answered with the end of their connections.
      const drained = Promise.all([connections.close(config.drainMs, idleMs), redirect?.close()]);
      service.endReaders();
      await drained;
      await service.close();
    };
    return {
      url: `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${config.basePath}`,
      get readers() {
        return service.readers;
      },
      redirectUrl: redirect && `http://${host}:${redirect.port}`,
      metricsUrl: service.metricsUrl,
      readOwnMetrics: service.readOwnMetrics,
      close: (idleMs = 0) => {
        closing ??= close(idleMs);
        if (idleMs === 0) connections.endIdle();
        return closing;
      },
    };
  } catch (error) {
    await stopListening();
    await service.close();
    throw error;
  }
}

function certificate({ cert, key }: { cert: string; key: string }): { cert: Buffer; key: Buffer } {
  try {
    return { cert: readFileSync(cert), key: readFileSync(key) };
  } catch (error) {
    throw new StartError(`TLS_CERT or TLS_KEY can’t be read: ${(error as Error).message}.`);
  }
}

/** Takes a renewed certificate into use without a restart. */
function watchCertificate(paths: { cert: string; key: string }, server: TlsServer, log: Log): () => void {
  const reload = () => {
    try {
      server.setSecureContext(certificate(paths));
      log.info({}, 'the certificate was read again');
    } catch (error) {
      log.error({ err: error }, 'the new certificate can’t be used; the old one stays');
    }
  };
  for (const path of [paths.cert, paths.key])
    watchFile(path, { interval: CERTIFICATE_CHECK_MS, persistent: false }, reload);
  return () => {
    for (const path of [paths.cert, paths.key]) unwatchFile(path, reload);
  };
}

/** A server that only sends on. */
export interface Redirect {
  readonly port: number;
  close(): Promise<void>;
}

/** A plain server that sends everybody to the one with TLS. Throws a StartError. */
export async function redirectTo(port: number, config: Config): Promise<Redirect> {
  const { httpRedirectPort, host } = config;
  const server = createPlainServer((req, res) => {
    const location = overTls(req, port, config);
    if (location === undefined) res.writeHead(400).end();
    else res.writeHead(308, { Location: location }).end();
  });
  const connections = new OpenConnections();
  connections.attend(server);
  await listen(server, httpRedirectPort as number, host);
  return {
    port: (server.address() as AddressInfo).port,
    close: () => connections.close(REDIRECT_DRAIN_MS, 0),
  };
}

/**
 * The same place over TLS: at `publicUrl`, or else at the host that was asked for, if it can be one. Nothing else of a
 * request may say which host that is: [spec] RFC 9112, 3.2.2, a target may be a whole URL.
 */
function overTls(
  { headers, url = '/' }: IncomingMessage,
  port: number,
  { publicUrl, host }: Config,
): string | undefined {
  const path = url.startsWith('/') ? url : '/';
  if (publicUrl?.startsWith('https:')) return new URL(publicUrl).origin + path;
  const name = (headers.host ?? host).replace(/:\d+$/, '');
  if (!/^([\w.-]+|\[[\da-f:.]+\])$/i.test(name)) return undefined;
  return `https://${name}${port === 443 ? '' : `:${port}`}${path}`;
}
