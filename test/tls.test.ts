import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let folder: string;
beforeAll(async () => {
  redis = await startTestRedis();
  folder = await mkdtemp(join(tmpdir(), 'tl-tls-'));
});
afterAll(async () => {
  await redis.stop();
  await rm(folder, { recursive: true });
});

const paths = () => ({ tlsCert: join(folder, 'cert.pem'), tlsKey: join(folder, 'key.pem') });

async function renewCertificate(name: string): Promise<void> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }]);
  await writeFile(paths().tlsKey, key);
  await writeFile(paths().tlsCert, cert);
}

function nameServed(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    }).on('error', reject);
  });
}

test('a renewed certificate is served without a restart, and plain HTTP is sent to HTTPS', async () => {
  await renewCertificate('first.example');
  const server = await startTestServer(testConfig(redis, { ...paths(), httpRedirectPort: 0 }));
  try {
    const port = Number(new URL(server.url).port);
    expect(server.url).toMatch(/^https:/);
    expect(await nameServed(port)).toBe('first.example');
    await renewCertificate('second.example');
    await waitFor('the new certificate', async () => (await nameServed(port)) === 'second.example', 20_000);
    const redirected = await new Promise<{ status?: number; location?: string }>((resolve, reject) => {
      const plain = request(`${server.redirectUrl}/rooms?x=1`, (res) => {
        res.resume();
        resolve({ status: res.statusCode as number, location: res.headers.location as string });
      });
      plain.on('error', reject).end();
    });
    expect(redirected).toEqual({ status: 308, location: `https://127.0.0.1:${port}/rooms?x=1` });
  } finally {
    await server.close();
  }
});

test('where the port of plain HTTP can’t be had nothing is left that listens', async () => {
  await renewCertificate('third.example');
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const [port, httpRedirectPort] = [await freePort(), (taken.address() as AddressInfo).port];
  try {
    const starting = startTestServer(testConfig(redis, { ...paths(), port, httpRedirectPort }));
    await expect(starting).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(/in use/),
    });
    await expect(nameServed(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  } finally {
    taken.close();
  }
});

test('a request that asks for another upgrade is answered over TLS, too, on a connection that is kept', async () => {
  await renewCertificate('h2c.example');
  const server = await startTestServer(testConfig(redis, paths()));
  const port = Number(new URL(server.url).port);
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  try {
    let got = '';
    socket.on('data', (bytes) => {
      got += bytes;
    });
    for (const answers of [1, 2]) {
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
      await waitFor('the answer', () => got.split('{"status":"up"}').length === answers + 1);
    }
  } finally {
    socket.destroy();
    await server.close();
  }
});

test('a certificate that can’t be read stops the start with one sentence', async () => {
  const config = testConfig(redis, { tlsCert: '/nowhere/cert.pem', tlsKey: '/nowhere/key.pem' });
  await expect(startTestServer(config)).rejects.toThrow(/TLS_CERT or TLS_KEY can’t be read/);
});
