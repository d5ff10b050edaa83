/** Characters that may stand in no name or title: controls, line ends, half surrogates, bidi overrides and marks. */
const UNFIT_FOR_LINE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** The same characters, all of them. */
const ALL_UNFIT_FOR_LINE = new RegExp(UNFIT_FOR_LINE, 'gu');

/** Controls that mean nothing in a message; tab and line ends may stand. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNFIT_FOR_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\p{Cs}]/u;

/** How many characters (Unicode code points) a text has. */
export function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length++;
  return length;
}

/** Whether a text can be shown as one line without bending the text around it. */
export function isOneLine(text: string): boolean {
  return !UNFIT_FOR_LINE.test(text);
}

/** A text with a blank for every character that could bend the text around it. */
export function asOneLine(text: string): string {
  return text.replace(ALL_UNFIT_FOR_LINE, ' ');
}

/** Whether a text can be a message: no control characters but tab and line ends, no half surrogates. */
export function isPlainText(text: string): boolean {
  return !UNFIT_FOR_TEXT.test(text);
}
