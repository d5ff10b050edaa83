import { type Guard, OPEN } from './redis-guard.ts';
import { RedisNode, SERVER_LINES } from './redis-nodes.ts';
import { waitFor } from './wait-for.ts';

const MASTERS = 3;
const SLOTS = 16384;

/** A real Cluster of three masters with a replica each, or none, of a test's own. */
export class TestCluster {
  readonly nodes: RedisNode[];

  private constructor(nodes: RedisNode[]) {
    this.nodes = nodes;
  }

  static async start({
    replicas = 1,
    guard = OPEN,
  }: {
    replicas?: 0 | 1;
    guard?: Guard;
  } = {}): Promise<TestCluster> {
    const cluster = new TestCluster([]);
    const lines = [
      ...SERVER_LINES,
      'cluster-enabled yes',
      'cluster-port %bus',
      'cluster-node-timeout 1500',
      'cluster-replica-validity-factor 0',
    ];
    try {
      const count = (1 + replicas) * MASTERS;
      for (let i = 0; i < count; i++) cluster.nodes.push(await RedisNode.start(lines, { guard }));
      await cluster.#join();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  async #join(): Promise<void> {
    const [first] = this.nodes as [RedisNode];
    const ids = await Promise.all(this.nodes.map(({ client }) => client.cluster('MYID') as Promise<string>));
    for (const { port, busPort } of this.nodes.slice(1)) {
      await first.client.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort);
    }
    await this.#untilAll('the nodes know each other', async ({ client }) => {
      const known = (await client.cluster('NODES')) as string;
      return ids.every((id) => new RegExp(`^${id} 127.*connected`, 'm').test(known));
    });
    for (let i = 0; i < MASTERS; i++) {
      const range = [i, i + 1].map((n) => Math.floor((n * SLOTS) / MASTERS)) as [number, number];
      const master = this.nodes[i] as RedisNode;
      await master.client.call('CLUSTER', 'ADDSLOTSRANGE', range[0], range[1] - 1);
      await master.client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1).catch(() => {});
    }
    for (const [i, replica] of this.nodes.slice(MASTERS).entries()) {
      await waitFor('the replica knows its master', () =>
        replica.client.call('CLUSTER', 'REPLICATE', ids[i] as string).catch(() => undefined),
      );
    }
    await this.untilWhole();
  }

  /** Waits until every node that runs finds the Cluster well and every replica that runs follows. */
  async untilWhole(nodes: readonly RedisNode[] = this.nodes): Promise<void> {
    await this.#untilAll(
      'the Cluster is well',
      async ({ client }) => {
        const state = (await client.cluster('INFO')) as string;
        const replication = await client.info('replication');
        const isLinked = /role:master/.test(replication) || /master_link_status:up/.test(replication);
        return /cluster_state:ok/.test(state) && isLinked;
      },
      nodes,
    );
  }

  async #untilAll(
    what: string,
    isSo: (node: RedisNode) => Promise<boolean>,
    nodes: readonly RedisNode[] = this.nodes,
  ): Promise<void> {
    for (const node of nodes) await waitFor(what, () => isSo(node).catch(() => false), 15_000);
  }

  get url(): string {
    return `redis+cluster://${this.nodes
      .slice(0, MASTERS)
      .map(({ endpoint }) => endpoint)
      .join(',')}`;
  }

  /** Who serves a key now, and its replicas; asked of whoever answers. */
  async serving(key: string): Promise<{ master: RedisNode; replicas: RedisNode[] }> {
    const any = await waitFor('a node that answers', async () => {
      const pings = this.nodes.map((node) => node.client.ping().then(() => node));
      return Promise.any(pings).catch(() => undefined);
    });
    const slot = await any.client.cluster('KEYSLOT', key);
    const ranges = (await any.client.call('CLUSTER', 'SLOTS')) as [number, number, ...unknown[]][];
    const range = ranges.find(([from, to]) => from <= slot && slot <= to);
    const [master, ...replicas] = ((range as unknown[]).slice(2) as [string, number][]).map(
      ([, port]) => this.nodes.find((node) => node.port === port) as RedisNode,
    );
    return { master: master as RedisNode, replicas };
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) node.thaw();
    await Promise.all(this.nodes.map((node) => node.remove()));
  }
}
