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
  return (value, words) => io.say(visible(isJson ? JSON.stringify(value) : words));
}

/** Controls but tab and line feed, and what turns the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A line that steers no terminal: what others wrote may be in it. Within JSON the escapes stand for the same characters. */
export function visible(line: string): string {
  return line.replace(STEERING, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
