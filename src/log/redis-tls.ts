import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { StartError } from './start-error.ts';

/** What a TLS connection to Redis is made with; what is absent is Node's own choice. */
export interface RedisTls {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** The settings that name its files. */
export interface RedisTlsPaths {
  readonly redisCa: string | undefined;
  readonly redisCert: string | undefined;
  readonly redisKey: string | undefined;
}

/** Reads the files that the settings name. Throws a StartError that names the setting. */
export function readRedisTls({ redisCa, redisCert, redisKey }: RedisTlsPaths): RedisTls {
  const tls = {
    ...(redisCa !== undefined && { ca: read('REDIS_CA', redisCa) }),
    ...(redisCert !== undefined && { cert: read('REDIS_CERT', redisCert) }),
    ...(redisKey !== undefined && { key: read('REDIS_KEY', redisKey) }),
  };
  if (tls.ca && !/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/.test(String(tls.ca)))
    throw new StartError('REDIS_CA holds no certificate (PEM).');
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new StartError(`REDIS_CA, REDIS_CERT or REDIS_KEY can’t be used: ${(error as Error).message}.`);
  }
  return tls;
}

function read(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new StartError(`${name} can’t be read: ${(error as Error).message}.`);
  }
}
