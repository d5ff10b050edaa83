import type { RedisClient } from './redis-client.ts';
import type { Script } from './script.ts';

/** A script's answer, and whether all it wrote, or found written, is on the replicas too. */
export interface Written {
  readonly answer: unknown;
  readonly isReplicated: boolean;
}

/** Runs scripts that write; rejects as Redis or the connection does. */
export interface Writer {
  readonly status: string;
  /** Whether WAIT follows what is written. */
  readonly isWaitedFor: boolean;
  write(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<Written>;
}

/** Writes that count once the master has them. */
export class MasterWriter implements Writer {
  readonly isWaitedFor = false;
  readonly #redis: RedisClient;

  constructor(redis: RedisClient) {
    this.#redis = redis;
  }

  get status(): string {
    return this.#redis.status;
  }

  async write(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<Written> {
    return { answer: await script.run(this.#redis, keys, args), isReplicated: true };
  }
}

interface Waiting {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
  readonly resolve: (written: Written) => void;
  readonly reject: (error: Error) => void;
  isUnknown: boolean;
  redirections: number;
}

interface ReplicaOptions {
  readonly replicas: number;
  readonly replicaWaitMs: number;
}

const WRITES_A_BATCH = 256;
const MAX_REDIRECTIONS = 3;

/**
 * Writes that count once so many replicas have them: WAIT follows in the same pipeline, hence on the same connection,
 * since it waits for what its own connection wrote. It holds up all that is behind it, so the connection serves nothing
 * else, and what is said while one batch waits makes the next: one WAIT for all of them.
 */
export class ReplicaWriter implements Writer {
  readonly isWaitedFor = true;
  readonly #redis: RedisClient;
  readonly #options: ReplicaOptions;
  #waiting: Waiting[] = [];
  #isBusy = false;

  constructor(redis: RedisClient, options: ReplicaOptions) {
    this.#redis = redis;
    this.#options = options;
  }

  get status(): string {
    return this.#redis.status;
  }

  write(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<Written> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ script, keys, args, resolve, reject, isUnknown: false, redirections: 0 });
      if (!this.#isBusy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, WRITES_A_BATCH);
      try {
        await this.#send(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error as Error);
      }
    }
    this.#isBusy = false;
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const { script, keys, args, isUnknown } of batch) script.queue(pipeline, keys, args, isUnknown);
    pipeline.wait(this.#options.replicas, this.#options.replicaWaitMs);
    const replies = (await pipeline.exec()) ?? [];
    const [waitError, count] = replies[batch.length] ?? [];
    const isReplicated = !waitError && Number(count) >= this.#options.replicas;
    const again: Waiting[] = [];
    let moved: Waiting | undefined;
    batch.forEach((write, i) => {
      const [error, answer] = replies[i] ?? [new Error('the pipeline answered too little')];
      if (!error) write.resolve({ answer, isReplicated });
      else if (error.message.startsWith('NOSCRIPT') && !write.isUnknown) {
        write.isUnknown = true;
        again.push(write);
      } else if (isRedirection(error) && write.redirections++ < MAX_REDIRECTIONS) {
        moved = write;
        again.push(write);
      } else write.reject(error);
    });
    this.#waiting.unshift(...again);
    if (moved) await this.#followSlot(moved);
  }

  /** The library redirects no pipeline of which WAIT was answered; asking for a key makes it learn where the slot went. */
  async #followSlot({ keys }: Waiting): Promise<void> {
    await this.#redis.exists(keys[0] as string).catch(() => {});
  }
}

/** Answers of a Cluster's node that executed nothing. */
function isRedirection({ message }: Error): boolean {
  return /^(MOVED|ASK|TRYAGAIN) /.test(message);
}
