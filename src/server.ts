import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { type AddressInfo, Server as NetServer } from 'node:net';
import express from 'express';
import type { Config } from './config.ts';
import { createAppServer } from './http/app-server.ts';
import { asksForWebSocket, ignoreUpgrade } from './http/ignore-upgrades.ts';
import { listen } from './http/listen.ts';
import type { Log } from './log/logger.ts';
import { StartError } from './log/start-error.ts';
import { openService } from './open-service.ts';

/** A service that listens. */
export interface RunningServer {
  /** Where it is reached from this machine, with the base path and without a slash at the end. */
  readonly url: string;
  /** Where plain HTTP is sent on from, if it is. */
  readonly redirectUrl: string | undefined;
  /** Where its metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** How many readers it has now: streams, sockets, and polls under way. */
  readonly readers: number;
  /**
   * Stops accepting, says `bye`, finishes posts in flight, leaves Redis. Idle connections are ended after `idleMs`
   * milliseconds (0: at once). Safe to call twice, also to end those sooner.
   */
  close(idleMs?: number): Promise<void>;
}

const CERTIFICATE_CHECK_MS = 5000;

/** Starts the service and its server. Throws a StartError, or the reason of a signal that gave the start up; then nothing is left running. */
export async function startServer(config: Config, log: Log, signal?: AbortSignal): Promise<RunningServer> {
  const service = await openService(config, log, { signal });
  try {
    const app = express();
    app.disable('x-powered-by').disable('etag');
    if (config.trustProxy !== undefined) app.set('trust proxy', config.trustProxy);
    app.use(config.basePath || '/', service.router);
    const tls =
      config.tlsCert !== undefined && config.tlsKey !== undefined
        ? { cert: config.tlsCert, key: config.tlsKey }
        : undefined;
    const server = createAppServer(app, tls && certificate(tls));
    server.on('upgrade', (req, socket, head) => {
      if (asksForWebSocket(req)) service.upgrade(req, socket, head);
      else ignoreUpgrade(server, req, socket, head);
    });
    const stopWatching = tls ? watchCertificate(tls, server as TlsServer, log) : () => {};
    await listen(server, config.port, config.host);
    const { port } = server.address() as AddressInfo;
    const redirect = config.httpRedirectPort === undefined ? undefined : await redirectTo(port, config);
    const host = ['0.0.0.0', '::'].includes(config.host) ? 'localhost' : config.host;
    let closing: Promise<void> | undefined;
    const close = async (idleMs: number) => {
      stopWatching();
      const drained = Promise.all([
        closed(server, config.drainMs, idleMs),
        redirect && closed(redirect, config.drainMs),
      ]);
      // A client that never pauses would hold its kept-alive connection, and with it the stop, for the whole drain time.
      server.prependListener('request', (_req, res) => res.setHeader('Connection', 'close'));
      service.endReaders();
      await drained;
      await service.close();
    };
    return {
      url: `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}${config.basePath}`,
      get readers() {
        return service.readers;
      },
      redirectUrl: redirect && `http://${host}:${(redirect.address() as AddressInfo).port}`,
      metricsUrl: service.metricsUrl,
      close: (idleMs = 0) => {
        closing ??= close(idleMs);
        if (idleMs === 0) server.closeIdleConnections();
        return closing;
      },
    };
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** Stops accepting, and waits for requests under way: for `idleMs` and then the drain time, at most. */
export function closed(server: Server | TlsServer, drainMs: number, idleMs = 0): Promise<void> {
  return new Promise((resolve) => {
    const timers = [setTimeout(() => server.closeAllConnections(), idleMs + drainMs)];
    server.once('close', () => {
      timers.forEach(clearTimeout);
      resolve();
    });
    if (idleMs === 0) {
      server.close();
      return;
    }
    // Its own `close` would end idle connections at once, whose clients may just have sent a request.
    NetServer.prototype.close.call(server);
    timers.push(setTimeout(() => server.close(), idleMs));
  });
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

/** A plain server that sends everybody to the one with TLS. Throws a StartError. */
export async function redirectTo(port: number, { httpRedirectPort, host }: Config): Promise<Server> {
  const server = createServer((req, res) => {
    const name = req.headers.host?.replace(/:\d+$/, '') ?? host;
    res.writeHead(308, { Location: `https://${name}${port === 443 ? '' : `:${port}`}${req.url}` }).end();
  });
  await listen(server, httpRedirectPort as number, host);
  return server;
}
