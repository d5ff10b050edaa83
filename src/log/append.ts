import { createHash } from 'node:crypto';
import { type StreamId, streamId } from '../chat/ids.ts';
import type { Draft } from '../chat/messages.ts';
import { Refusal } from '../chat/refusals.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { User } from '../chat/users.ts';
import { appendScript } from './append-script.ts';
import { newEpoch } from './epoch.ts';
import type { Address, Keys, UserKey } from './keys.ts';
import { tooFast } from './pace.ts';
import type { RedisClient } from './redis-client.ts';
import { MasterWriter, type Writer, type Written } from './replicated.ts';
import { refusalOf, tooFewReplicas } from './unreachable.ts';

/** How long a `clientId` is remembered: 24 h, in milliseconds. */
const SENT_LIFE_MS = 24 * 60 * 60 * 1000;

interface AppendOptions {
  readonly journalEntries: number;
  readonly roomLogEntries: number;
  /** Posts of one user that are accepted each second, … */
  readonly postsPerSecond: number;
  /** … and so many beyond that, again a minute after the first of them. */
  readonly postBurst: number;
}

/** Says things: the only writer of the journal and of the room logs. */
export class Appender {
  readonly #writer: Writer;
  readonly #posts: Writer;
  readonly #keys: Keys;
  readonly #options: AppendOptions;

  /** `posts` writes what people say; without it they count once the master has them, as all else does. */
  constructor(redis: RedisClient, keys: Keys, options: AppendOptions, posts?: Writer) {
    this.#writer = new MasterWriter(redis);
    this.#posts = posts ?? this.#writer;
    this.#keys = keys;
    this.#options = options;
  }

  /**
   * Appends a message to the journal and its room's log; the same `clientId` again answers with the first one's id.
   * Refusals: `room_not_found`, `room_closed`, `client_id_reused`, `too_fast`, `unavailable` (not sent), `unsure` (sent, but no answer came, or not
   * all replicas have it).
   */
  async post(
    room: RoomKey,
    user: UserKey,
    by: User,
    draft: Draft,
    pace: 'paced' | 'unpaced' = 'paced',
  ): Promise<{ id: StreamId; isNew: boolean }> {
    const { text, clientId } = draft;
    const data = JSON.stringify({ user: by, text, clientId });
    const digest = createHash('sha256').update(text).digest('base64url');
    const [what, id] = await this.#append(
      this.#posts,
      [
        this.#keys.log(room),
        this.#keys.room(room),
        this.#keys.pace(user),
        this.#keys.paceBurst(user),
        // An empty key would lie in another slot of a Cluster.
        ...(clientId === undefined ? [] : [this.#keys.sent(room, user, clientId)]),
      ],
      [`room:${room}`, 'message', data, this.#options.journalEntries, newEpoch()],
      [
        this.#options.roomLogEntries,
        digest,
        SENT_LIFE_MS,
        this.#posts.isWaitedFor ? 1 : 0,
        pace === 'paced' ? this.#options.postsPerSecond : '',
        this.#options.postBurst,
      ],
    );
    return { id: streamId(id), isNew: what === 'appended' };
  }

  /**
   * Appends what every process must hear but no history keeps, such as the end of a session.
   * Refusals: `unavailable`, `unsure`.
   */
  async announce(to: Address, kind: string, data: object = {}): Promise<void> {
    await this.#append(
      this.#writer,
      [],
      [to, kind, JSON.stringify(data), this.#options.journalEntries, newEpoch()],
      [],
    );
  }

  async #append(
    writer: Writer,
    keys: string[],
    args: (string | number)[],
    durable: (string | number)[],
  ): Promise<string[]> {
    const allKeys = [this.#keys.journal, this.#keys.epoch, ...keys];
    if (writer.status !== 'ready')
      throw refusalOf(new Error(`Redis connection is ${writer.status}`), 'unsent');
    let written: Written;
    try {
      written = await writer.write(appendScript, allKeys, [...args, ...durable]);
    } catch (error) {
      throw refusalOf(error, 'sent');
    }
    const answer = written.answer as string[];
    switch (answer[0]) {
      case 'appended':
      case 'known':
        if (!written.isReplicated) throw tooFewReplicas();
        return answer;
      case 'reused':
        throw new Refusal(
          'client_id_reused',
          'This clientId was used for another text within the last 24 hours.',
        );
      case 'too_fast':
        throw tooFast(Number(answer[1]));
      case 'no_room':
        throw new Refusal('room_not_found', 'There is no such room.', { field: 'room' });
      case 'closed':
        throw new Refusal('room_closed', 'This room is closed: it can only be read.', { field: 'room' });
      default:
        throw new Error(`append refused: ${answer.slice(1).join(' ')}`);
    }
  }
}
