import { type StreamId, streamId, ZERO_ID } from '../chat/ids.ts';
import { ARGS_AN_ENTRY, ARGS_BEFORE } from '../log/append-batch.ts';
import { type JournalEntry, journalEntry } from '../log/journal.ts';
import type { Writer, Written } from '../log/replicated.ts';
import type { Script } from '../log/script.ts';

/** In place of Redis, for the posts of one room: answers as the script does that appends, and tells the entries as a tail does. */
export class MemoryWriter implements Writer {
  readonly status = 'ready';
  readonly isWaitedFor = false;
  readonly #heard: (entries: readonly JournalEntry[]) => void;
  #last: StreamId = ZERO_ID;
  #n = 0;

  constructor(heard: (entries: readonly JournalEntry[]) => void) {
    this.#heard = heard;
  }

  async write(
    _script: Script,
    _keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<Written> {
    const answer: string[][] = [];
    const entries: JournalEntry[] = [];
    for (let i = ARGS_BEFORE; i < args.length; i += ARGS_AN_ENTRY) {
      const [to, kind, data] = args.slice(i + 1, i + 4) as [string, string, string];
      const n = ++this.#n;
      const id = streamId(`${Date.now()}-${n}`);
      const fields = { to, kind, before: this.#last, prev: this.#last, n: String(n), data };
      entries.push(journalEntry([id, Object.entries(fields).flat()]));
      answer.push(['appended', id]);
      this.#last = id;
    }
    await new Promise(setImmediate);
    this.#heard(entries);
    return { answer, isReplicated: true };
  }
}
