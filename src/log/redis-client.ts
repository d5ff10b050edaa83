import type { Redis } from 'ioredis';

/** What the log asks of Redis, be it one server, the master that Sentinels name, or a Cluster. */
export type RedisClient = Pick<
  Redis,
  | 'del'
  | 'disconnect'
  | 'eval'
  | 'evalsha'
  | 'exists'
  | 'get'
  | 'hdel'
  | 'hget'
  | 'hexists'
  | 'hgetall'
  | 'hset'
  | 'hsetnx'
  | 'mget'
  | 'multi'
  | 'pexpire'
  | 'pexpireat'
  | 'pipeline'
  | 'sadd'
  | 'set'
  | 'smembers'
  | 'srem'
  | 'xack'
  | 'xadd'
  | 'xautoclaim'
  | 'xclaim'
  | 'xdel'
  | 'xgroup'
  | 'xlen'
  | 'xrange'
  | 'xread'
  | 'xrevrange'
  | 'zadd'
  | 'zrange'
  | 'zrem'
  | 'zscore'
> & {
  /** `ready`: commands can be sent (to a Cluster: to some of its nodes at least). */
  readonly status: string;
  on(event: 'ready', listener: () => void): unknown;
};
