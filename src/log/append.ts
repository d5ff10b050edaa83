import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { type StreamId, streamId } from '../chat/ids.ts';
import type { Draft } from '../chat/messages.ts';
import { Refusal } from '../chat/refusals.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { User } from '../chat/users.ts';
import { appendScript } from './append-script.ts';
import { newEpoch } from './epoch.ts';
import type { Address, Keys, UserKey } from './keys.ts';
import { refusalOf } from './unreachable.ts';

/** How long a `clientId` is remembered: 24 h, in milliseconds. */
const SENT_LIFE_MS = 24 * 60 * 60 * 1000;

interface Retention {
  readonly journalEntries: number;
  readonly roomLogEntries: number;
}

/** Says things: the only writer of the journal and of the room logs. */
export class Appender {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #retention: Retention;

  constructor(redis: Redis, keys: Keys, retention: Retention) {
    this.#redis = redis;
    this.#keys = keys;
    this.#retention = retention;
  }

  /**
   * Appends a message to the journal and its room's log; the same `clientId` again answers with the first one's id.
   * Refusals: `room_not_found`, `client_id_reused`, `unavailable` (not sent), `unsure` (sent, but no answer came).
   */
  async post(
    room: RoomKey,
    user: UserKey,
    by: User,
    draft: Draft,
  ): Promise<{ id: StreamId; isNew: boolean }> {
    const { text, clientId } = draft;
    const data = JSON.stringify({ user: by, text, clientId });
    const digest = createHash('sha256').update(text).digest('base64url');
    const [what, id] = await this.#append(
      [
        this.#keys.log(room),
        this.#keys.room(room),
        clientId === undefined ? '' : this.#keys.sent(room, user, clientId),
      ],
      [`room:${room}`, 'message', data, this.#retention.journalEntries, newEpoch()],
      [this.#retention.roomLogEntries, digest, SENT_LIFE_MS],
    );
    return { id: streamId(id), isNew: what === 'appended' };
  }

  /**
   * Appends what every process must hear but no history keeps, such as the end of a session.
   * Refusals: `unavailable`, `unsure`.
   */
  async announce(to: Address, kind: string, data: object = {}): Promise<void> {
    await this.#append([], [to, kind, JSON.stringify(data), this.#retention.journalEntries, newEpoch()], []);
  }

  async #append(keys: string[], args: (string | number)[], durable: (string | number)[]): Promise<string[]> {
    const allKeys = [this.#keys.journal, this.#keys.epoch, ...keys];
    if (this.#redis.status !== 'ready')
      throw refusalOf(new Error(`Redis connection is ${this.#redis.status}`), 'unsent');
    let answer: string[];
    try {
      answer = (await appendScript.run(this.#redis, allKeys, [...args, ...durable])) as string[];
    } catch (error) {
      throw refusalOf(error, 'sent');
    }
    switch (answer[0]) {
      case 'appended':
      case 'known':
        return answer;
      case 'reused':
        throw new Refusal(
          'client_id_reused',
          'This clientId was used for another text within the last 24 hours.',
        );
      case 'no_room':
        throw new Refusal('room_not_found', 'There is no such room.', { field: 'room' });
      default:
        throw new Error(`append refused: ${answer.slice(1).join(' ')}`);
    }
  }
}
