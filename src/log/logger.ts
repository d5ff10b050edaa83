/** The operator's log, as pino writes it: facts first, then a sentence. Never a message's text, a cookie or a token. */
export interface Log {
  debug(facts: object, sentence: string): void;
  info(facts: object, sentence: string): void;
  warn(facts: object, sentence: string): void;
  error(facts: object, sentence: string): void;
}
