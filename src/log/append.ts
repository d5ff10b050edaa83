import { createHash } from 'node:crypto';
import { type StreamId, streamId } from '../chat/ids.ts';
import type { Draft } from '../chat/messages.ts';
import { Refusal } from '../chat/refusals.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { User } from '../chat/users.ts';
import { AppendBatch, type ScriptEntry } from './append-batch.ts';
import type { Address, Keys, UserKey } from './keys.ts';
import { tooFast } from './pace.ts';
import type { RedisClient } from './redis-client.ts';
import { MasterWriter, type Writer } from './replicated.ts';
import { tooFewReplicas } from './unreachable.ts';

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
  readonly #announcements: AppendBatch;
  readonly #posts: AppendBatch;
  readonly #keys: Keys;
  readonly #options: AppendOptions;
  /** Told of each call for posts how long it took in milliseconds, answered or not, and with it the replicas that they wait for. */
  toldPosts: (tookMs: number) => void = () => {};

  /** `posts` writes what people say; without it they count once the master has them, as all else does. */
  constructor(redis: RedisClient, keys: Keys, options: AppendOptions, posts?: Writer) {
    const told = (tookMs: number) => this.toldPosts(tookMs);
    // Where posts wait for nobody else, what is announced goes with them.
    this.#posts = new AppendBatch(posts ?? new MasterWriter(redis), keys, options, told);
    this.#announcements = posts ? new AppendBatch(new MasterWriter(redis), keys, options) : this.#posts;
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
    const { postsPerSecond, postBurst } = this.#options;
    const keys = [
      this.#keys.log(room),
      this.#keys.room(room),
      this.#keys.pace(user),
      this.#keys.paceBurst(user),
    ];
    // An empty key would lie in another slot of a Cluster.
    if (clientId !== undefined) keys.push(this.#keys.sent(room, user, clientId));
    const [what, id] = await this.#append(this.#posts, {
      keys,
      args: [
        `room:${room}`,
        'message',
        JSON.stringify({ user: by, text, clientId }),
        clientId === undefined ? '' : createHash('sha256').update(text).digest('base64url'),
        pace === 'paced' ? postsPerSecond : '',
        postBurst,
      ],
    });
    return { id: streamId(id), isNew: what === 'appended' };
  }

  /**
   * Appends what every process must hear but no history keeps, such as the end of a session.
   * Refusals: `unavailable`, `unsure`.
   */
  async announce(to: Address, kind: string, data: object = {}): Promise<void> {
    await this.#append(this.#announcements, { keys: [], args: [to, kind, JSON.stringify(data), '', '', 0] });
  }

  async #append(batch: AppendBatch, entry: ScriptEntry): Promise<readonly string[]> {
    const { answer, isReplicated } = await batch.append(entry);
    switch (answer[0]) {
      case 'appended':
      case 'known':
        if (!isReplicated) throw tooFewReplicas();
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
