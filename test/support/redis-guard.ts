import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { generate } from 'selfsigned';
import type { RedisOptions } from '../../src/log/open-redis.ts';

/** How a kind of server lets clients in: its lines of configuration, and what they connect with. */
export interface Guard {
  readonly lines: readonly string[];
  readonly options: RedisOptions;
}

/** Lets in everybody. */
export const OPEN: Guard = { lines: [], options: {} };

/** Files of a certificate authority that nobody knows, and of a certificate by it, for servers and clients alike. */
export class Certificates {
  readonly #folder: string;
  readonly #pem: { readonly ca: string; readonly cert: string; readonly key: string };

  private constructor(folder: string, pem: { ca: string; cert: string; key: string }) {
    this.#folder = folder;
    this.#pem = pem;
  }

  /** The certificate is for this host name only, or for 127.0.0.1. */
  static async make(host?: string): Promise<Certificates> {
    const ca = await generate([{ name: 'commonName', value: 'An authority of the test' }], {
      keyType: 'ec',
      algorithm: 'sha256',
      extensions: [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, critical: true },
      ],
    });
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'Redis' }], {
      keyType: 'ec',
      algorithm: 'sha256',
      ca: { key: ca.private, cert: ca.cert },
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        {
          name: 'subjectAltName',
          altNames: [host === undefined ? { type: 7, ip: '127.0.0.1' } : { type: 2, value: host }],
        },
      ],
    });
    const pem = { ca: ca.cert, cert, key };
    const folder = await mkdtemp(join(tmpdir(), 'tl-certificates-'));
    for (const [name, text] of Object.entries(pem)) await writeFile(join(folder, `${name}.pem`), text);
    return new Certificates(folder, pem);
  }

  path(name: 'ca' | 'cert' | 'key'): string {
    return join(this.#folder, `${name}.pem`);
  }

  /** Lines for a server that talks TLS alone, to replicas and to its Cluster too, and wants a certificate of clients. */
  get lines(): string[] {
    return [
      `tls-ca-cert-file ${this.path('ca')}`,
      `tls-cert-file ${this.path('cert')}`,
      `tls-key-file ${this.path('key')}`,
      'tls-replication yes',
    ];
  }

  /** What a client of the test's own connects with. */
  get tls(): NonNullable<RedisOptions['tls']> {
    return { ...this.#pem, checkServerIdentity: () => undefined };
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
