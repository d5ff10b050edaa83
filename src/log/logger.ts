import { pino } from 'pino';

/** The operator's log, as pino writes it: facts first, then a sentence. Never a message's text, a cookie or a token. */
export interface Log {
  debug(facts: object, sentence: string): void;
  info(facts: object, sentence: string): void;
  warn(facts: object, sentence: string): void;
  error(facts: object, sentence: string): void;
  /** Whether such lines are written at all. */
  isLevelEnabled?(level: 'debug' | 'info'): boolean;
}

/**
 * The log on standard output, a line of JSON each. Where that can't be written any more (its terminal was closed), nothing
 * is: the library's own destination would try for ever when the process ends, as long as it isn't `sync`.
 */
export function openLog(level: string, facts: object = {}): Log {
  const out = pino.destination({ dest: 1, sync: true });
  out.on('error', () => {});
  return pino({ level }, out).child(facts);
}

/** One whose lines go nowhere. */
export function openLogToNowhere(level: string): Log {
  return pino({ level }, { write: () => {} }).child({});
}

/** An error as it may be logged: one of Redis' client carries the command that failed, with names and ids. */
export function withoutCommand(error: unknown): Error {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return Object.assign(new Error(message), { stack });
}
