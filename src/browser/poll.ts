import type { WireEvent } from '../chat/entries.ts';
import { ask, Refused, refusalOf } from './ask.ts';
import {
  type Asking,
  endOf,
  endOfBye,
  type LineListener,
  type OpenLine,
  queryOf,
  seconds,
} from './carrier.ts';
import { afterPoll, type Hold } from './poll-hold.ts';

/** What a poll is answered. */
export interface Answer {
  readonly events: readonly WireEvent[];
  readonly cursor: string;
  readonly more: boolean;
}

interface PollPace {
  /** What has been learnt, and is learnt here. */
  hold: Hold;
  /** Between two short polls, in ms. */
  readonly pauseMs: () => number;
}

/** An own timer of so much beyond the hold: some proxies never tell that they gave a request up. */
const SLACK_MS = 3000;
/** How many unanswered short polls in a row mean that the service is out of reach, and not a request lost. */
const MAX_LOST = 2;

/** One poll: what there is after the cursor, or the first news within `waitMs`. Rejects with `Refused`. */
export async function pollOnce(
  asking: Asking,
  waitMs: number,
  isDripping: boolean,
  signal?: AbortSignal,
): Promise<Answer> {
  const query = queryOf(asking, { wait: seconds(waitMs), ...(isDripping && { drip: '1' }) });
  const answer = await ask<Answer | { error: unknown }>(asking.access, `/poll?${query}`, {
    withinMs: waitMs + SLACK_MS,
    signal,
  });
  if (answer && 'cursor' in answer) return answer;
  // A dripping poll has told its status before it knew.
  const { error } = answer as { error?: { code: string; message: string; retryAfter?: number } };
  if (!error) throw refusalOf('', 200);
  throw new Refused(error.code, error.message, undefined, (error.retryAfter ?? 0) * 1000 || undefined);
}

/** Polls again and again: held as long as gets through, or (`isShort`) every now and then. */
export function openPoll(isShort: boolean, asking: Asking, pace: PollPace, listener: LineListener): OpenLine {
  const stop = new AbortController();
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let lost = 0;
  // The first answer is to come at once: it proves the way, and brings what was missed.
  let isFirst = true;
  /** After how long the last one was cut, if what is asked now is whether it was the hold that was too much. */
  let cutMs: number | undefined;

  const next = async (): Promise<void> => {
    const { holdMs, isDripping } = pace.hold;
    const waitMs = isShort || isFirst ? 0 : holdMs;
    const startedAt = performance.now();
    let pauseMs = isShort ? pace.pauseMs() : 0;
    try {
      const answer = await pollOnce(asking, waitMs, isDripping && waitMs > 0, stop.signal);
      const { events, cursor, more } = answer;
      if (isOver) return;
      lost = 0;
      if (cutMs !== undefined) pace.hold = afterPoll(pace.hold, { cutMs });
      cutMs = undefined;
      const bye = events.find((event) => event.kind === 'bye');
      for (const { event, cursor } of placed(answer)) if (event !== bye) listener.event(event, cursor);
      if (isOver) return;
      listener.answered(cursor, more, waitMs > 0 ? undefined : performance.now() - startedAt);
      if (bye) return finish(endOfBye(bye));
      if (more || isFirst || events.length > 0) pauseMs = isShort && !more ? pauseMs : 0;
      else if (waitMs > 0) pace.hold = afterPoll(pace.hold, 'empty');
      // An empty answer that came too soon isn't worth asking for again at once.
      if (!isShort && !isFirst && events.length === 0 && performance.now() - startedAt < waitMs / 2)
        pauseMs = Math.max(pauseMs, 1000);
      isFirst = false;
      if (!isShort && pace.hold.isHopeless) return finish({ how: 'cut' });
    } catch (error) {
      if (isOver) return;
      const elapsed = performance.now() - startedAt;
      const wasHeld = waitMs > 0 && elapsed > 1000;
      const isCut = error instanceof Refused && (error.code === 'unreachable' || error.code === 'blocked');
      if (isCut && elapsed >= waitMs + SLACK_MS && wasHeld) {
        // Nothing told of a cut, so it may be the network itself.
        cutMs = elapsed;
        isFirst = true;
      } else if (isCut && wasHeld) {
        pace.hold = afterPoll(pace.hold, { cutMs: elapsed });
        if (pace.hold.isHopeless) return finish({ how: 'cut' });
      } else if (isCut && elapsed >= SLACK_MS && ++lost < MAX_LOST) {
        pauseMs = 0;
      } else {
        return finish(endOf(error));
      }
    }
    if (!isOver) timer = setTimeout(next, pauseMs);
  };

  const finish = (end: Parameters<LineListener['ended']>[0]) => {
    isOver = true;
    listener.ended(end);
  };
  void next();
  return {
    close: () => {
      isOver = true;
      stop.abort();
      clearTimeout(timer);
    },
  };
}

/**
 * An answer's events with the cursors that they lead to: its entries are all of the history that its cursor is of.
 * Where the history changed, the last gap leads to that one's very beginning, so that whatever follows comes after it.
 */
export function placed({ events, cursor }: Answer): { event: WireEvent; cursor: string | undefined }[] {
  const epoch = cursor.split('.', 1)[0];
  const isBreak = (event: WireEvent) => event.kind === 'gap' && event.reason !== 'trimmed';
  const lastBreak = events.filter(isBreak).pop();
  return events.map((event) => {
    if ('id' in event) return { event, cursor: `${epoch}.${event.id}` };
    return { event, cursor: event === lastBreak ? `${epoch}.0-0` : undefined };
  });
}
