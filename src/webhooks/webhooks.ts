import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Hook } from '../chat/hooks.ts';
import type { SiteName } from '../chat/sites.ts';
import { DeadLetters } from '../log/dead-letters.ts';
import { HookBook } from '../log/hook-book.ts';
import { jittered } from '../log/jitter.ts';
import { JournalGroup } from '../log/journal-group.ts';
import type { Keys } from '../log/keys.ts';
import { type Log, withoutCommand } from '../log/logger.ts';
import type { RedisClient } from '../log/redis-client.ts';
import { unlessAborted } from '../log/unless-aborted.ts';
import { Receiver, type WebhookCounts, type WebhookOptions } from './receiver.ts';

interface WebhookSources {
  /** For looking which webhooks there are. */
  readonly commands: RedisClient;
  /** Opens the connection that all else is done on, once there is a webhook. */
  readonly open: () => Promise<RedisClient>;
  readonly keys: Keys;
  readonly keysOf: (site: SiteName) => Keys;
  readonly log: Log;
}

const LOOK_EVERY_MS = 1000;

/** Tells the sites' webhooks what happens there. Costs a look each second while there is none. */
export class Webhooks {
  readonly counts: WebhookCounts = { delivered: 0, retried: 0, dead: 0, dropped: 0, trimmed: 0 };
  readonly #sources: WebhookSources;
  readonly #options: WebhookOptions;
  readonly #consumer = randomBytes(8).toString('hex');
  readonly #receivers = new Map<string, Receiver>();
  readonly #stopping = new AbortController();
  #redis: Promise<RedisClient> | undefined;
  #loop: Promise<void> | undefined;

  constructor(sources: WebhookSources, options: WebhookOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** The journal has news. */
  wake(): void {
    for (const receiver of this.#receivers.values()) receiver.wake();
  }

  /** Calls under way may end; what is left is other processes' at once. Safe to call without a start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await Promise.all(Array.from(this.#receivers.values(), (receiver) => receiver.stop()));
    this.#receivers.clear();
  }

  async #run(): Promise<void> {
    const { commands, keys, log } = this.#sources;
    const { signal } = this.#stopping;
    const book = new HookBook(commands, keys);
    while (!signal.aborted) {
      try {
        await this.#keep(await book.list());
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: withoutCommand(error) }, 'which webhooks there are couldn’t be read; trying again');
      }
      const waitMs = jittered(LOOK_EVERY_MS, 0.75, 1.25);
      await pause(waitMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** One receiver for each webhook; of what is said of one only its secrets change. */
  async #keep(hooks: readonly Hook[]): Promise<void> {
    const wanted = new Set(hooks.map(({ id }) => id));
    for (const [id, receiver] of this.#receivers) {
      if (wanted.has(id)) continue;
      this.#receivers.delete(id);
      await receiver.stop();
    }
    for (const hook of hooks) {
      this.#receivers.get(hook.id)?.changeTo(hook);
      if (this.#receivers.has(hook.id) || this.#stopping.signal.aborted) continue;
      const receiver = await this.#receiverOf(hook);
      this.#receivers.set(hook.id, receiver);
      receiver.start();
    }
  }

  async #receiverOf(hook: Hook): Promise<Receiver> {
    const { open, keys, keysOf, log } = this.#sources;
    this.#redis ??= open();
    const redis = await unlessAborted(this.#redis, this.#stopping.signal);
    const group = new JournalGroup(redis, keysOf(hook.site), hook.id, this.#consumer);
    const dead = new DeadLetters(redis, keys);
    const isKept = () => new HookBook(redis, keys).has(hook.id);
    return new Receiver(hook, isKept, group, dead, this.counts, log, this.#options);
  }
}
