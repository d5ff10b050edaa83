/** What a scrape told: each sample by its name and labels, as in `throughline_readers{carrier="sse"}`. */
export type Samples = ReadonlyMap<string, number>;

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"`;
const NUMBER = String.raw`[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN`;
const SAMPLE = new RegExp(`^(${NAME})(\\{${LABEL}(?:,${LABEL})*\\})? (${NUMBER})$`);
const COMMENT = new RegExp(`^# (?:HELP (${NAME}) \\S.*|TYPE (${NAME}) (counter|gauge|histogram))$`);

/**
 * Reads an exposition; throws at whatever isn't one. [spec] Prometheus, text-based format: each metric once, its help and
 * type before its samples, no sample twice; counters end in `_total`.
 */
export function parseExposition(text: string): Samples {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  if (!text.endsWith('\n')) throw new Error('the last line doesn’t end');
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = COMMENT.exec(line);
    if (comment) {
      const [, , typed, type] = comment;
      if (typed === undefined || type === undefined) continue;
      if (types.has(typed)) throw new Error(`typed twice: ${line}`);
      if ((type === 'counter') !== typed.endsWith('_total')) throw new Error(`misnamed: ${line}`);
      types.set(typed, type);
      continue;
    }
    const [, name = '', labels = '', value] = SAMPLE.exec(line) ?? [];
    if (value === undefined) throw new Error(`no line of an exposition: ${line}`);
    if (!types.has(name) && types.get(name.replace(/_(bucket|sum|count)$/, '')) !== 'histogram')
      throw new Error(`a sample before its type: ${line}`);
    if (samples.has(name + labels)) throw new Error(`told twice: ${line}`);
    samples.set(name + labels, Number(value.replace('Inf', 'Infinity')));
  }
  return samples;
}

/** Scrapes as Prometheus does. Throws unless it is answered 200 with an exposition. */
export async function scrape(url: string, token?: string): Promise<Samples> {
  const res = await fetch(url, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } });
  const text = await res.text();
  if (res.status !== 200) throw new Error(`scrape: ${res.status} ${text}`);
  if (!res.headers.get('content-type')?.startsWith('text/plain; version=0.0.4'))
    throw new Error(`scrape: ${res.headers.get('content-type')}`);
  return parseExposition(text);
}
