import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { StartError } from '../log/start-error.ts';

/** Has a server listen. Throws a StartError, one sentence, where it can't. */
export function listen(server: Server | TlsServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'it is in use'
          : error.code === 'EACCES'
            ? 'it needs more rights'
            : error.message;
      reject(new StartError(`Port ${port} of ${host} can’t be listened on: ${why}.`));
    });
    server.listen(port, host, () => resolve());
  });
}
