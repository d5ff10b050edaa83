// A redis-server of the bench's own for each side and each run, on a loopback port and on the server's core.
import { Redis } from 'ioredis';
import { freePort, newFolder, SERVER_CORE, start, stop } from './processes.mjs';

/** The two settings that everything is measured with. */
export const STORES = {
  aof: { label: 'AOF, fsync always', settings: { appendonly: 'yes', appendfsync: 'always' } },
  memory: { label: 'no AOF', settings: { appendonly: 'no' } },
};

export async function openRedis(store) {
  const folder = newFolder();
  const port = await freePort();
  const settings = {
    port,
    bind: '127.0.0.1',
    // The load comes from several addresses of the loopback, of which Redis takes one to be its own.
    'protected-mode': 'no',
    dir: folder.path,
    save: '',
    'maxmemory-policy': 'noeviction',
    ...STORES[store].settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const child = start(SERVER_CORE, 'redis-server', args, { stdio: 'ignore' });
  const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 100, retryStrategy: () => 50 });
  client.on('error', () => {});
  await client.ping();
  return {
    port,
    pid: child.pid,
    client,
    /** Counts what is read meanwhile: XRANGE in all (INFO commandstats), those on room logs, and sessions (SLOWLOG of everything). */
    async countReads(phase) {
      const inAll = async () =>
        Number(/^cmdstat_xrange:calls=(\d+)/m.exec(await client.info('commandstats'))?.[1] ?? 0);
      await client.config('SET', 'slowlog-max-len', '1000000');
      await client.config('SET', 'slowlog-log-slower-than', '0');
      const before = await inAll();
      await client.slowlog('RESET');
      const figures = await phase();
      const commands = (await client.slowlog('GET', 1_000_000)).map(([, , , args]) => args);
      const after = await inAll();
      await client.config('SET', 'slowlog-log-slower-than', '-1');
      const count = (name, part) =>
        commands.filter(([command, key]) => command.toLowerCase() === name && key?.includes(part)).length;
      return {
        ...figures,
        xranges: after - before,
        logReads: count('xrange', ':log:'),
        sessionReads: count('get', ':sess:'),
      };
    },
    async close() {
      client.disconnect();
      await stop(child);
      folder.remove();
    },
  };
}
