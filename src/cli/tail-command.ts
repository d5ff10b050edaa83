import { EventSource } from 'eventsource';
import { StartError } from '../log/start-error.ts';
import { misused, readArguments, TAIL_OPTIONS } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, type Tell, tellTo } from './io.ts';
import { ask, beginVisit, refusalIn, type Visit } from './visit.ts';

/** What is told of a room, and can be said in a line. */
interface Event {
  readonly kind: string;
  readonly at?: number;
  readonly user?: { readonly name: string };
  readonly text?: string;
  readonly here?: boolean;
  readonly reason?: string;
  readonly code?: string;
}

const KINDS = ['message', 'presence', 'gap', 'closed', 'bye'];

/** `throughline tail <room>`: what is said there, until it is interrupted. Goes on by itself after a restart or a cut. */
export async function tailCommand(io: Io, args: readonly string[]): Promise<void> {
  const { positionals, values } = readArguments(args, TAIL_OPTIONS, USAGES.tail);
  const [room, ...more] = positionals;
  const last = values.last ?? '0';
  if (room === undefined || more.length > 0 || !/^\d{1,3}$/.test(last)) throw misused(USAGES.tail);
  const tell = tellTo(io, values.json === true);
  const visit = await beginVisit(io, values, USAGES.tail);
  try {
    const from = last === '0' ? {} : { after: await tellLast(visit, room, last, tell) };
    await follow(io, visit.address('/api/stream', { rooms: room, ...from }), visit, (event) =>
      tellEvent(event, tell),
    );
  } finally {
    await visit.end();
  }
}

/** Prints the room's newest messages; answers where the stream goes on. */
async function tellLast(visit: Visit, room: string, limit: string, tell: Tell): Promise<string> {
  const path = `/api/rooms/${encodeURIComponent(room)}/messages`;
  const res = await ask(visit.address(path, { limit }), { headers: visit.headers });
  const { events, cursor } = (await res.json()) as { events: Event[]; cursor: string };
  for (const event of events) tellEvent(event, tell);
  return cursor;
}

/** Resolves on abort; throws a StartError where the service refuses for good. */
function follow(io: Io, url: string, { headers }: Visit, hear: (event: Event) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let refusal: StartError | undefined;
    const source = new EventSource(url, {
      fetch: async (input, init) => {
        const res = await fetch(input, { ...init, headers: { ...init.headers, ...headers } });
        if (!res.ok) refusal = await refusalIn(res.clone());
        return res;
      },
    });
    const end = () => {
      source.close();
      resolve();
    };
    io.signal.addEventListener('abort', end, { once: true });
    if (io.signal.aborted) end();
    for (const kind of KINDS)
      source.addEventListener(kind, ({ data }: MessageEvent) => hear(JSON.parse(data as string) as Event));
    source.addEventListener('error', ({ message }) => {
      if (source.readyState !== source.CLOSED)
        return io.complain(`… ${message ?? 'cut'}; going on from there.`);
      io.signal.removeEventListener('abort', end);
      reject(refusal ?? new StartError(message ?? 'The stream was refused.'));
    });
  });
}

function tellEvent(event: Event, tell: Tell): void {
  const { kind, at, user, text = '', here } = event;
  const time = at === undefined ? '' : `${new Date(at).toTimeString().slice(0, 8)} `;
  switch (kind) {
    case 'message':
      return tell(event, `${time}${user?.name}: ${text.replaceAll(/\r\n?|\n/g, '\n    ')}`);
    case 'presence':
      return tell(event, `${time}${here ? '→' : '←'} ${user?.name}`);
    case 'gap':
      return tell(event, `… messages may be missing here (${event.reason})`);
    case 'closed':
      return tell(event, `${time}the room was closed`);
    default:
      return tell(event, `… ${kind} ${event.code ?? ''}`);
  }
}
