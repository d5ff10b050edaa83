import { afterAll, beforeAll, describe } from 'vitest';
import { openCluster, openRedis } from '../src/log/open-redis.ts';
import { parseRedisAddress } from '../src/log/redis-address.ts';
import { carriers } from './support/carriers.ts';
import { describeContract, type Store } from './support/delivery-contract.ts';
import { TestCluster } from './support/redis-cluster.ts';
import { TestSentinels } from './support/redis-sentinels.ts';
import { waitFor } from './support/wait-for.ts';

describe.each([
  ['the master that Sentinels name', TestSentinels],
  ['a Redis Cluster', TestCluster],
])('over %s', (_name, Replicated) => {
  let replicated: TestSentinels | TestCluster;
  let store: Store;
  let close: () => void;
  beforeAll(async () => {
    replicated = await Replicated.start();
    const address = parseRedisAddress(replicated.url);
    const client = 'cluster' in address ? openCluster(address, {}) : openRedis(address, {});
    client.on('error', () => {});
    await waitFor('a connection', () => client.status === 'ready');
    store = { path: replicated.url, client };
    close = () => client.disconnect();
  }, 60_000);
  afterAll(async () => {
    close?.();
    await replicated?.stop();
  });

  describeContract(() => store, carriers);
});
