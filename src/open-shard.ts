import { siteOf } from './chat/rooms.ts';
import type { Counts } from './delivery/counts.ts';
import { Delivery } from './delivery/delivery.ts';
import { userKeyOf } from './http/authority.ts';
import type { Shard } from './http/service.ts';
import { Appender } from './log/append.ts';
import type { Connections } from './log/connections.ts';
import type { Address, Keys } from './log/keys.ts';
import { KnownUsers } from './log/known-users.ts';
import { type Log, withoutCommand } from './log/logger.ts';
import { Names } from './log/names.ts';
import type { Pace } from './log/pace.ts';
import { Presence } from './log/presence.ts';
import { LogReader } from './log/read.ts';
import type { RedisClient } from './log/redis-client.ts';
import { ReplicaWriter } from './log/replicated.ts';
import { RoomBook } from './log/room-book.ts';
import { Sweeper } from './log/sweeper.ts';
import { Tail } from './log/tail.ts';

type Options = ConstructorParameters<typeof Tail>[3] &
  ConstructorParameters<typeof Delivery>[1] &
  ConstructorParameters<typeof Appender>[2] &
  ConstructorParameters<typeof Presence>[3] &
  ConstructorParameters<typeof ReplicaWriter>[1] & {
    readonly maxRooms: number;
    readonly sessionTtlMs: number;
  };

interface ShardSources {
  readonly connections: Pick<Connections, 'commands' | 'reads' | 'replicated'>;
  /** For its tail alone. */
  readonly tail: RedisClient;
  readonly keys: Keys;
  /** Of all shards of the process. */
  readonly counts: Counts;
  readonly presencePace: Pace;
  readonly log: Log;
}

interface ShardEvents {
  /** The history went back: what was in it may be gone. */
  wentBack(): void;
  /** The journal has grown. */
  heard(): void;
  /** A session or a user's log-ins ended or changed in one of its sites; without an address: any may have, unheard. */
  sessionEnded(address?: Address): void;
}

/** A shard that is served by this process. */
export interface OpenShard extends Shard {
  readonly keys: Keys;
  readonly tail: Tail;
  /** Fills the window and follows the journal. Rejects if that can't be read. */
  start(): Promise<void>;
  /** Ends the tail's connection, too. */
  stop(): Promise<void>;
}

/** Puts together what is kept and told of the sites of one shard. Nothing runs before it is started. */
export function openShard(
  { connections, tail: tailRedis, keys, counts, presencePace, log }: ShardSources,
  options: Options,
  events: ShardEvents,
): OpenShard {
  const { commands, reads, replicated } = connections;
  const presence = new Presence(commands, keys, presencePace, options);
  const history = new LogReader(reads, keys);
  const delivery = new Delivery(
    history,
    options,
    {
      refilled: (reason) => {
        presence.forgetAll();
        if (reason === 'rollback') events.wentBack();
      },
      failed: (error) => log.error({ err: withoutCommand(error) }, 'telling a reader failed; it was ended'),
      insisting: (error) =>
        log.warn(
          { err: withoutCommand((error as Error).cause ?? error) },
          'what readers need can’t be read just now; they ask again',
        ),
    },
    counts,
  );
  const tail = new Tail(tailRedis, keys, log, options, {
    heard: (entries) => {
      delivery.heard(entries);
      events.heard();
    },
    refilled: (end, reason) => delivery.refilled(end, reason),
  });
  delivery.suspectRollback = () => tail.suspect();
  delivery.heardPresence = (room, user, isHere) => {
    if (!isHere) presence.forget(room, userKeyOf(siteOf(room), user));
  };
  delivery.heardSessionEnd = (address) => events.sessionEnded(address);
  const sweeper = new Sweeper(commands, presence, log, options.leaseMs / 2);
  const appender = new Appender(
    commands,
    keys,
    options,
    replicated && new ReplicaWriter(replicated, options),
  );
  return {
    keys,
    appender,
    history,
    rooms: new RoomBook(commands, keys, options.maxRooms),
    names: new Names(commands, keys, options.sessionTtlMs),
    knownUsers: new KnownUsers(commands, keys, options.sessionTtlMs),
    presence,
    delivery,
    tail,
    start: async () => {
      await tail.start();
      sweeper.start();
    },
    stop: async () => {
      await Promise.all([tail.stop(), sweeper.stop()]);
    },
  };
}
