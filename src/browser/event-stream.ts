/** One event of a stream: its data, and the `id:` that it alone carries. */
export type OnEvent = (data: string, id: string | undefined) => void;

/**
 * Reads a `text/event-stream` piece by piece; comments, names and retry times are passed over, since each event's data
 * says what it is. [spec] WHATWG HTML, 9.2.6 Interpreting an event stream.
 */
export function eventStreamReader(onEvent: OnEvent): (text: string) => void {
  let rest = '';
  let data: string | undefined;
  let id: string | undefined;
  return (text) => {
    // A carriage return at the end may be half of a line's end: it waits for what follows.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() as string;
    for (const line of lines) {
      const [, field, value] = /^(data|id)(?:: ?(.*))?$/.exec(line) ?? [];
      if (field === 'data') data = data === undefined ? (value ?? '') : `${data}\n${value ?? ''}`;
      else if (field === 'id') id = value;
      else if (line === '') {
        if (data !== undefined) onEvent(data, id);
        data = id = undefined;
      }
    }
  };
}
