import { diagnose, SHORT_POLLS } from './choice.ts';
import { type ProbeTools, runEcho, runPoll, runSocket, runStream } from './probes.ts';
import type { Answer, Diagnosis, Echo, Evidence, PollTrace, StreamTrace } from './trace.ts';

/** How long what lasts is watched. */
export interface Lengths {
  readonly seconds: number;
  readonly shortHoldMs: number;
}

const SECONDS = { min: 5, max: 35, otherwise: 25 };
const SHORT_HOLD_MS = 5000;

/** As the page's address asks (`?seconds=`), or else half a minute. */
export function lengthsFrom(query: string): Lengths {
  const asked = Number(/[?&]seconds=(\d{1,3})(?:&|$)/.exec(query)?.[1] ?? SECONDS.otherwise);
  const seconds = Math.min(SECONDS.max, Math.max(SECONDS.min, asked));
  return { seconds, shortHoldMs: Math.min(SHORT_HOLD_MS, seconds * 200) };
}

const BETWEEN_SHORT_POLLS_MS = 500;

/** An examination under way: `evidence` grows, and `onNews` of the tools tells when. */
export interface Examination {
  readonly evidence: Evidence;
  readonly diagnosis: Promise<Diagnosis>;
}

/** Tries every carrier at once. Never more than five connections beside the socket: browsers allow six to a host. */
export function examine(tools: ProbeTools, { seconds, shortHoldMs }: Lengths): Examination {
  const stream = (carrier: StreamTrace['carrier']): StreamTrace => ({
    kind: 'stream',
    carrier,
    seconds,
    arrivals: [],
    strange: '',
  });
  const poll = (waitMs: number, isDripping: boolean): PollTrace => ({
    kind: 'poll',
    waitMs,
    isDripping,
    piecesAtMs: [],
    strange: '',
  });
  const sse = stream('sse');
  const postStream = stream('post-stream');
  const websocket = stream('websocket');
  const plain = poll(seconds * 1000, false);
  const dripping = poll(seconds * 1000, true);
  const short = poll(shortHoldMs, false);
  const shortPolls: PollTrace[] = [];
  const seen: { echo: Echo | undefined; echoAnswer: Answer | undefined } = {
    echo: undefined,
    echoAnswer: undefined,
  };
  const evidence: Evidence = {
    streams: [sse, postStream, websocket],
    heldPolls: [plain, dripping, short],
    shortPolls,
    get echo() {
      return seen.echo;
    },
    get echoAnswer() {
      return seen.echoAnswer;
    },
  };

  const startedAt = performance.now();
  const askPoll = (trace: PollTrace) => {
    trace.startedMs = Math.round(performance.now() - startedAt);
    return runPoll(tools, trace);
  };
  const oneByOne = async () => {
    const { echo, answer } = await runEcho(tools);
    Object.assign(seen, { echo, echoAnswer: answer });
    for (let i = 0; i < SHORT_POLLS && !tools.signal.aborted; i++) {
      const one = poll(0, false);
      shortPolls.push(one);
      await askPoll(one);
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_SHORT_POLLS_MS));
    }
    await askPoll(short);
  };
  const run = async (): Promise<Diagnosis> => {
    await Promise.all([
      runStream(tools, sse),
      runStream(tools, postStream),
      runSocket(tools, websocket),
      askPoll(plain),
      askPoll(dripping),
      oneByOne(),
    ]);
    const { echo } = await runEcho(tools);
    return diagnose(evidence, echo !== undefined);
  };
  return { evidence, diagnosis: run() };
}
