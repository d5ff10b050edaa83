/** What a command has of the process it runs in. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Prints a line for whoever called. */
  say(line: string): void;
  /** Prints a line that isn't the answer: what is wrong, or what one waits for. */
  complain(line: string): void;
  /** Aborts when the command is to end. */
  readonly signal: AbortSignal;
}

/** Prints a value as one line of JSON, or as the words for it. */
export type Tell = (value: object, words: string) => void;

/** How a command prints, with `--json` or without. */
export function tellTo(io: Io, isJson: boolean): Tell {
  return (value, words) => io.say(isJson ? JSON.stringify(value) : words);
}
