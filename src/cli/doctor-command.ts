import { EventSource } from 'eventsource';
import { StartError } from '../log/start-error.ts';
import { misused, readArguments } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, tellTo } from './io.ts';
import { baseOf, reasonOf } from './visit.ts';

/** One thing looked at. */
interface Finding {
  readonly probe: 'up' | 'ready' | 'route' | 'stream' | 'long-poll';
  readonly isGood: boolean;
  readonly words: string;
}

const STREAM_SECONDS = 3;
const POLL_SECONDS = 5;
const WITHIN_MS = 10_000;
/** What the network adds to an event's time may vary by so much before it is held back rather than slow. */
const LATE_MS = 1000;

/** `throughline doctor <url>`: whether the service is there, and how a stream and a held poll come through to here. */
export async function doctorCommand(io: Io, args: readonly string[]): Promise<void> {
  const { positionals, values } = readArguments(args, {}, USAGES.doctor);
  const [given, ...more] = positionals;
  if (given === undefined || more.length > 0) throw misused(USAGES.doctor);
  const url = baseOf(given);
  const tell = tellTo(io, values.json === true);
  let bad = 0;
  for (const probe of [probeUp, probeReady, probeRoute, probeStream, probePoll]) {
    if (io.signal.aborted) throw new StartError('Interrupted: not all was looked at.');
    const finding = await probe(url, io.signal);
    if (!finding.isGood) bad++;
    tell(finding, `${finding.isGood ? 'ok ' : 'BAD'}  ${finding.probe.padEnd(9)}  ${finding.words}`);
    if (!finding.isGood && finding.probe === 'up') break;
  }
  if (bad > 0) throw new StartError(`${bad === 1 ? 'One thing is' : `${bad} things are`} wrong at ${url}.`);
}

async function probeUp(url: string, signal: AbortSignal): Promise<Finding> {
  return finding('up', url, '/healthz', signal, async (res) => [res.ok, `answered ${res.status}`]);
}

async function probeReady(url: string, signal: AbortSignal): Promise<Finding> {
  return finding('ready', url, '/readyz', signal, async (res) => [
    res.ok,
    res.ok
      ? 'Redis answers, and the journal is read'
      : `answered ${res.status}: Redis, or the journal, isn’t read`,
  ]);
}

/** What stands between here and there, as far as it shows. */
async function probeRoute(url: string, signal: AbortSignal): Promise<Finding> {
  return finding('route', url, '/api/doctor/echo', signal, async (res) => {
    if (!res.headers.has('throughline'))
      return [false, `answered ${res.status}, and not as Throughline does`];
    const { httpVersion, headers } = (await res.json()) as {
      httpVersion: string;
      headers: Record<string, string>;
    };
    const own = ['connection', 'accept-encoding', 'cache-control'];
    const added = Object.keys(headers).filter((name) => !own.includes(name));
    return [
      true,
      `HTTP/${httpVersion}; ${added.length === 0 ? 'no proxy shows' : `a proxy adds ${added.join(', ')}`}`,
    ];
  });
}

async function probePoll(url: string, signal: AbortSignal): Promise<Finding> {
  const startedAt = performance.now();
  const path = `/api/doctor/poll?wait=${POLL_SECONDS}&t=${Date.now()}`;
  return finding('long-poll', url, path, signal, async (res) => {
    const { waitedMs } = (await res.json().catch(() => ({}))) as { waitedMs?: number };
    const tookMs = Math.round(performance.now() - startedAt);
    if (!res.ok || waitedMs === undefined) return [false, `answered ${res.status} after ${tookMs} ms`];
    return [true, `held for ${POLL_SECONDS} s and answered ${tookMs - waitedMs} ms after that`];
  });
}

/** Each event carries its time since the first, so what was held back shows. */
function probeStream(url: string, signal: AbortSignal): Promise<Finding> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const source = new EventSource(`${url}/api/doctor/stream?seconds=${STREAM_SECONDS}`);
    let firstMs: number | undefined;
    let worstMs = 0;
    const end = (isGood: boolean, words: string) => {
      clearTimeout(overdue);
      source.close();
      resolve({ probe: 'stream', isGood, words });
    };
    const overdue = setTimeout(
      () =>
        end(false, `no more events after ${firstMs === undefined ? 'none' : 'some'} within ${WITHIN_MS} ms`),
      WITHIN_MS,
    );
    signal.addEventListener('abort', () => end(false, 'interrupted'), { once: true });
    const hear = ({ data }: MessageEvent) => {
      const { n, sentMs } = JSON.parse(data as string) as { n: number; sentMs: number };
      const sinceStart = performance.now() - startedAt;
      firstMs ??= sinceStart;
      worstMs = Math.max(worstMs, Math.abs(sinceStart - firstMs - sentMs));
      if (n <= STREAM_SECONDS) return;
      const isHeld = worstMs > LATE_MS || firstMs > STREAM_SECONDS * 1000;
      const timing = `first event after ${Math.round(firstMs)} ms, the others within ${Math.round(worstMs)} ms of their time`;
      end(!isHeld, isHeld ? `held back: ${timing}` : timing);
    };
    for (const kind of ['hello', 'heartbeat']) source.addEventListener(kind, hear);
    source.addEventListener('error', ({ code, message }) => end(false, message ?? `answered ${code}`));
  });
}

async function finding(
  probe: Finding['probe'],
  url: string,
  path: string,
  signal: AbortSignal,
  judge: (res: Response) => Promise<[isGood: boolean, words: string]>,
): Promise<Finding> {
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]);
    const [isGood, words] = await judge(await fetch(url + path, { signal: within }));
    return { probe, isGood, words };
  } catch (error) {
    return { probe, isGood: false, words: reasonOf(error) };
  }
}
