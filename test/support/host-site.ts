import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An old site that has the chat in its pages. */
export interface HostSite {
  /** Its origin, under a host name of its own. */
  readonly origin: string;
  readonly port: number;
  /** Pages by path. */
  readonly pages: Map<string, (req: IncomingMessage, res: ServerResponse) => void>;
  close(): Promise<void>;
}

/** Opens a site under a name that leads to this machine. */
export async function openHostSite(name = 'localhost'): Promise<HostSite> {
  const pages: HostSite['pages'] = new Map();
  const server = createServer((req, res) => {
    const { pathname } = new URL(req.url as string, 'http://site');
    const page = pages.get(pathname);
    if (page) page(req, res);
    else res.writeHead(404).end();
  });
  server.listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://${name}:${port}`,
    port,
    pages,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
