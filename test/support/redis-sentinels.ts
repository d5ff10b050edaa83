import { type Guard, OPEN } from './redis-guard.ts';
import { RedisNode, SERVER_LINES } from './redis-nodes.ts';
import { waitFor } from './wait-for.ts';

const NAME = 'themaster';

interface SentinelsOptions {
  readonly replicas?: number;
  readonly sentinels?: number;
  /** What the servers, and the Sentinels, want of clients */
  readonly guards?: { readonly server: Guard; readonly sentinel: Guard };
}

/** A master and its replicas, watched by three Sentinels: all of a test's own. */
export class TestSentinels {
  readonly servers: RedisNode[] = [];
  readonly sentinels: RedisNode[] = [];

  static async start({
    replicas = 2,
    sentinels = 3,
    guards = { server: OPEN, sentinel: OPEN },
  }: SentinelsOptions = {}): Promise<TestSentinels> {
    const all = new TestSentinels();
    try {
      const master = await RedisNode.start(SERVER_LINES, { guard: guards.server });
      all.servers.push(master);
      for (let i = 0; i < replicas; i++) {
        const lines = [...SERVER_LINES, `replicaof 127.0.0.1 ${master.port}`];
        all.servers.push(await RedisNode.start(lines, { guard: guards.server }));
      }
      await untilFollowed(master, replicas);
      for (let i = 0; i < sentinels; i++) {
        const lines = [
          `sentinel monitor ${NAME} 127.0.0.1 ${master.port} ${Math.ceil((sentinels + 1) / 2)}`,
          `sentinel down-after-milliseconds ${NAME} 1000`,
          `sentinel failover-timeout ${NAME} 3000`,
          ...access(guards.server),
        ];
        all.sentinels.push(await RedisNode.start(lines, { program: ['--sentinel'], guard: guards.sentinel }));
      }
      for (const sentinel of all.sentinels) {
        await waitFor('the Sentinels know all', async () => {
          const seen = await masterSeen(sentinel);
          return seen.replicas === replicas && seen.otherSentinels === sentinels - 1;
        });
      }
      return all;
    } catch (error) {
      await all.stop();
      throw error;
    }
  }

  get url(): string {
    return `redis+sentinel://${this.sentinels.map(({ endpoint }) => endpoint).join(',')}/${NAME}`;
  }

  /** Whom the Sentinels name. */
  async master(): Promise<RedisNode> {
    const [, port] = (await this.#sentinel.client.call(
      'SENTINEL',
      'GET-MASTER-ADDR-BY-NAME',
      NAME,
    )) as string[];
    return this.servers.find((server) => server.port === Number(port)) as RedisNode;
  }

  /** Has the Sentinels change masters. */
  async failOver(): Promise<void> {
    await this.#sentinel.client.call('SENTINEL', 'FAILOVER', NAME);
  }

  /**
   * Waits until no Sentinel has a failover left to finish or to hear of, and all other servers follow the master and
   * have all it had until now. A Sentinel names the new master before its failover is over; its subscribers hear of it
   * at the end, and every client then connects anew.
   */
  async untilWhole(): Promise<void> {
    await waitFor(
      'the Sentinels agree',
      async () => {
        const seen = await Promise.all(this.sentinels.map(masterSeen));
        return seen.every(({ port, flags }) => port === seen[0]?.port && flags === 'master');
      },
      20_000,
    );
    await untilFollowed(await this.master(), this.servers.length - 1);
  }

  /** Has a server that was killed come back as a replica. */
  async rejoin(server: RedisNode): Promise<void> {
    const { port } = await this.master();
    await server.restart();
    // The Sentinels would say so too, but only once it has been up for 8 s.
    await server.client.replicaof('127.0.0.1', port);
  }

  get #sentinel(): RedisNode {
    return this.sentinels[0] as RedisNode;
  }

  async stop(): Promise<void> {
    const nodes = [...this.servers, ...this.sentinels];
    for (const node of nodes) node.thaw();
    await Promise.all(nodes.map((node) => node.remove()));
  }
}

/** How Sentinels are let in by the servers. */
function access({ options: { username, password } }: Guard): string[] {
  return [
    ...(username ? [`sentinel auth-user ${NAME} "${username}"`] : []),
    ...(password ? [`sentinel auth-pass ${NAME} "${password}"`] : []),
  ];
}

/** What a Sentinel holds of the master. */
async function masterSeen({ client }: RedisNode) {
  const told = (await client.call('SENTINEL', 'MASTER', NAME)) as string[];
  const value = (field: string) => told[told.indexOf(field) + 1];
  return {
    port: value('port'),
    flags: value('flags'),
    replicas: Number(value('num-slaves')),
    otherSentinels: Number(value('num-other-sentinels')),
  };
}

async function untilFollowed(master: RedisNode, replicas: number): Promise<void> {
  await waitFor(
    'the replicas follow',
    async () => {
      await master.client.set('followed', 1);
      return Number(await master.client.wait(replicas, 100)) === replicas;
    },
    // The Sentinels leave one that was the master alone for 8 s.
    20_000,
  );
}
