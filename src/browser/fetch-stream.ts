import { refusalIn, send } from './ask.ts';
import { type Asking, endOf, endOfBye, type LineListener, type OpenLine, queryOf } from './carrier.ts';
import { eventStreamReader } from './event-stream.ts';
import type { LineEnd } from './ladder.ts';

/**
 * A stream over fetch: by GET as Server-Sent Events, or by POST as bytes of no text type, which some filters let pass.
 * fetch and not EventSource, which hides statuses and comes back by a clock of its own.
 */
export function openStream(isPost: boolean, asking: Asking, listener: LineListener): OpenLine {
  const stop = new AbortController();
  const run = async (): Promise<LineEnd> => {
    const query = queryOf(asking, { confirm: '1' });
    const response = isPost
      ? await send(asking.access, `/stream?t=${Math.random()}`, {
          body: fieldsOf(query),
          accept: 'application/octet-stream',
          signal: stop.signal,
        })
      : await send(asking.access, `/stream?${query}`, {
          accept: 'text/event-stream',
          signal: stop.signal,
        });
    if (!response.ok || !response.body) throw await refusalIn(response);
    let hasTold = false;
    let end: LineEnd | undefined;
    const read = eventStreamReader((data, id) => {
      if (stop.signal.aborted || end) return;
      const event = JSON.parse(data);
      hasTold = true;
      if (event.kind === 'bye') end = endOfBye(event);
      else listener.event(event, id);
    });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        read(decoder.decode(value, { stream: true }));
        if (end) return end;
      }
    } catch {
      // Torn, or no JSON: either way nothing more can be read from it.
    }
    return { how: hasTold ? 'cut' : 'foreign' };
  };
  run()
    .catch(endOf)
    .then((end) => {
      if (stop.signal.aborted) return;
      stop.abort();
      listener.ended(end);
    });
  return { close: () => stop.abort() };
}

function fieldsOf(query: string): Record<string, string> {
  const fields: Record<string, string> = {};
  new URLSearchParams(query).forEach((value, name) => {
    fields[name] = value;
  });
  return fields;
}
