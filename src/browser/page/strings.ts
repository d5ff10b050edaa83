import { en, type Key, type MarkupKey, type Strings } from './strings/en.ts';

export type { Key } from './strings/en.ts';

/** The languages there are, by their own names. Each but English is a file beside the script. */
export const LANGUAGES: Readonly<Record<string, { name: string; dir: 'ltr' | 'rtl' }>> = {
  en: { name: 'English', dir: 'ltr' },
  de: { name: 'Deutsch', dir: 'ltr' },
  ar: { name: 'العربية', dir: 'rtl' },
};

/** The first of the wanted languages that there is; English if there is none. */
export function languageFor(wanted: readonly (string | undefined)[]): string {
  const known = wanted.map((tag) => String(tag).toLowerCase().split('-')[0] as string);
  return known.filter((code) => Object.hasOwn(LANGUAGES, code))[0] ?? 'en';
}

/** How the page speaks: strings, and numbers, times and days as they are written in the language. */
export interface Words {
  readonly language: string;
  readonly dir: 'ltr' | 'rtl';
  (key: Key, values?: Readonly<Record<string, string | number>>): string;
  /** A string as it is, if the language has its own. */
  other(key: Key | MarkupKey): string | undefined;
  time(at: number): string;
  day(at: number): string;
  moment(at: number): string;
}

/** The page's words in one language. What its strings lack is said in English. */
export function wordsIn(language = 'en', more: Partial<Strings> = {}): Words {
  const { dir } = LANGUAGES[language] as (typeof LANGUAGES)[string];
  const other = (key: Key | MarkupKey) => (typeof more[key] === 'string' ? more[key] : undefined);
  const format = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(language, options);
  const times = format({ hour: 'numeric', minute: '2-digit' });
  const moments = format({ dateStyle: 'full', timeStyle: 'medium' });
  const days = format({ weekday: 'long', day: 'numeric', month: 'long' });
  const olderDays = format({ day: 'numeric', month: 'long', year: 'numeric' });
  const say = (key: Key, values: Readonly<Record<string, string | number>> = {}) =>
    (other(key) ?? en[key]).replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name];
      return typeof value === 'number' ? value.toLocaleString(language) : String(value);
    });
  return Object.assign(say, {
    language,
    dir,
    other,
    time: (at: number) => times.format(at),
    moment: (at: number) => moments.format(at),
    day(at: number) {
      const date = new Date(at);
      const today = new Date();
      const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
      if (date.toDateString() === today.toDateString()) return say('today');
      if (date.toDateString() === yesterday.toDateString()) return say('yesterday');
      return (date.getFullYear() === today.getFullYear() ? days : olderDays).format(date);
    },
  });
}

const PATIENCE_MS = 3000;

/** Gets the words of a language from where the service is; English where they can't be had, or not in time. */
export async function fetchWords(base: string, language: string): Promise<Words> {
  if (language === 'en') return wordsIn();
  const ask = async () => {
    const res = await fetch(`${base}/strings-${language}.json`);
    if (!res.ok) throw new Error(`${res.status}`);
    return wordsIn(language, (await res.json()) as Partial<Strings>);
  };
  const giveUp = new Promise<Words>((resolve) => setTimeout(() => resolve(wordsIn()), PATIENCE_MS));
  return Promise.race([ask().catch(() => wordsIn()), giveUp]);
}

/**
 * Finds what the HTML says, and puts it into other words: `data-t` names an element's text, `data-label`, `data-t-label`
 * (with a tooltip) and `data-t-hint` its attributes. In English, or where a language lacks it, it is said as it was.
 */
export function openMarkup(root: HTMLElement): (t: Words) => void {
  const places: ((t: Words) => void)[] = [];
  const each = (attribute: string, put: (element: Element, text: string) => void) => {
    for (const element of Array.from(root.querySelectorAll(`[${attribute}]`))) {
      const key = element.getAttribute(attribute) as Key | MarkupKey;
      const english = element.getAttribute('aria-label') ?? element.textContent ?? '';
      places.push((t) => put(element, t.other(key) ?? english));
    }
  };
  each('data-t', (element, text) => {
    element.textContent = text;
  });
  each('data-label', (element, text) => element.setAttribute('aria-label', text));
  each('data-t-label', (element, text) => {
    element.setAttribute('aria-label', text);
    element.setAttribute('title', text);
  });
  each('data-t-hint', (element, text) => element.setAttribute('placeholder', text));
  return (t) => {
    root.lang = t.language;
    root.dir = t.dir;
    for (const place of places) place(t);
  };
}
