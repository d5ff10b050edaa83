import { HELLO_MS, PROOF_MS, SHORT_LIFE_MS } from '../ladder.ts';
import type { Answer, Finding, PollTrace, ProbedCarrier, StreamTrace, Verdict } from './trace.ts';

/** Later than this isn't singly any more. */
const LATE_MS = 700;
const VERY_LATE_MS = 5000;
/** A connection that fails sooner never was one. */
const PROMPT_MS = 2000;
/** Arrivals closer to each other than this came as one clump. */
const CLUMP_MS = 250;
const POLL_SLACK_MS = 3000;
/** Between a poll's wait and an answer that came before its time. */
const EARLY_MS = 300;

/** What the network did to a stream. */
export function judgeStream(trace: StreamTrace): Finding {
  const { carrier, answer, arrivals, end } = trace;
  const found = (verdict: Verdict, more: Partial<Finding> = {}): Finding => ({
    carrier,
    verdict,
    ...more,
    ...changes(trace, answer),
  });
  const foreign = foreignAnswer(answer);
  if (foreign) return found(foreign.verdict, foreign);
  const lastsMs = trace.seconds * 1000;
  const [first] = arrivals;
  if (!first) {
    if (end?.how === 'stopped') return found('unreachable', { fault: 'stopped' });
    if (trace.strange !== '') return found('altered');
    if (!end) return found('held');
    if (!answer && end.how === 'torn' && carrier === 'websocket')
      return found(end.atMs < lastsMs / 2 ? 'refused' : 'held', { atMs: end.atMs });
    if (!answer && end.how === 'torn' && end.atMs < PROMPT_MS) return found('unreachable');
    if (end.how === 'silent') return found('held');
    return end.atMs < lastsMs - PROMPT_MS ? found('cut', { atMs: end.atMs }) : found('held');
  }

  const soonest = Math.min(...arrivals.map(({ atMs, sentMs }) => atMs - sentMs));
  const lateness = arrivals.map(({ atMs, sentMs }) => atMs - sentMs - soonest);
  const last = arrivals[arrivals.length - 1] ?? first;
  const isWhole = last.n >= trace.seconds + 1;
  const latest = Math.max(...lateness);
  if (end?.how === 'stopped' && !isWhole) return found('unreachable', { fault: 'stopped' });
  if (!isProven(trace)) {
    const isEarlyEnd = end && end.how !== 'silent' && !isWhole && end.atMs < lastsMs - PROMPT_MS;
    if (isEarlyEnd && latest < VERY_LATE_MS) return found('cut', { atMs: end.atMs });
    if (clumps(trace) > 2) return found('delayed', { latencyMs: latest });
    const [second] = arrivals.slice(1);
    return found('held', first.atMs > HELLO_MS ? { atMs: first.atMs } : second && { atMs: second.atMs });
  }
  if (quantile(lateness, 0.5) > LATE_MS || latest > VERY_LATE_MS)
    return found('delayed', { latencyMs: latest });
  const latencyMs = Math.round(soonest + quantile(lateness, 0.5));
  if (isWhole) return found('arrives', { latencyMs });
  const isMute = end?.how === 'silent';
  const atMs = isMute ? last.atMs : (end?.atMs ?? last.atMs);
  return found('cut', {
    atMs,
    latencyMs,
    ...(isMute && { isMute }),
    ...(atMs >= SHORT_LIFE_MS && !isMute && { needs: 'rotation' as const }),
  });
}

/** Whether the client would have taken the stream for good: `hello`, and then a second event, each in time. */
export function isProven({ arrivals }: StreamTrace): boolean {
  const [hello, second] = arrivals;
  return (
    hello?.n === 0 && second !== undefined && hello.atMs <= HELLO_MS && second.atMs - hello.atMs <= PROOF_MS
  );
}

/** What the network did to held polls: one plain, one dripping, one held only for a short while. */
export function judgeHeldPolls(polls: readonly PollTrace[]): Finding {
  const judged = polls.map((poll) => ({ poll, finding: judgePoll('long-poll', poll) }));
  const plain = judged.find(({ poll }) => !poll.isDripping) ?? judged[0];
  if (!plain) return { carrier: 'long-poll', verdict: 'unreachable' };
  const longest = Math.max(...polls.map(({ waitMs }) => waitMs));
  const best = judged.find(({ finding }) => finding.verdict === 'arrives');
  if (!best || best === plain) return plain.finding;
  const { atMs } = plain.finding;
  return {
    ...best.finding,
    ...(atMs !== undefined && { atMs }),
    needs: best.poll.isDripping && best.poll.waitMs === longest ? 'dripping' : 'short holds',
  };
}

/** What the network did to polls that are answered at once. */
export function judgeShortPolls(polls: readonly PollTrace[]): Finding {
  const findings = polls.map((poll) => judgePoll('short-poll', poll));
  const bad = findings.filter(({ verdict }) => verdict !== 'arrives');
  const [firstBad] = bad;
  if (firstBad && bad.length * 2 >= findings.length) return firstBad;
  const times = findings.map(({ latencyMs }) => latencyMs ?? 0).filter((ms) => ms > 0);
  if (findings.length === 0) return { carrier: 'short-poll', verdict: 'unreachable' };
  return { carrier: 'short-poll', verdict: 'arrives', latencyMs: quantile(times, 0.5) };
}

/** What the network did to one poll. */
export function judgePoll(carrier: ProbedCarrier, trace: PollTrace): Finding {
  const { answer, end, waitMs } = trace;
  const foreign = foreignAnswer(answer);
  if (foreign) return { carrier, ...foreign, ...(end && { atMs: end.atMs }) };
  if (!end || end.how === 'silent') return { carrier, verdict: 'held' };
  if (end.how === 'stopped') return { carrier, verdict: 'unreachable', fault: 'stopped' };
  if (end.how === 'torn' || (trace.strange.trim() === '' && !trace.isGenuine)) {
    if (end.atMs < Math.min(PROMPT_MS, waitMs / 2) || waitMs === 0)
      return { carrier, verdict: 'unreachable' };
    return { carrier, verdict: 'cut', atMs: end.atMs };
  }
  if (!trace.isGenuine || end.atMs < waitMs - EARLY_MS) return { carrier, verdict: 'altered' };
  const latencyMs = Math.round(Math.max(0, end.atMs - waitMs));
  return latencyMs > POLL_SLACK_MS
    ? { carrier, verdict: 'delayed', latencyMs }
    : { carrier, verdict: 'arrives', latencyMs };
}

/** An answer that isn't the service's, or is its request for patience. */
function foreignAnswer(
  answer: Answer | undefined,
): (Pick<Finding, 'verdict'> & Partial<Finding>) | undefined {
  if (!answer || answer.status === 200) return undefined;
  const { status, isOurs } = answer;
  return isOurs && (status === 503 || status === 429)
    ? { verdict: 'unreachable', fault: 'busy', status }
    : { verdict: 'refused', status };
}

/** nginx takes `X-Accel-Buffering` for itself: its absence is no change to complain of. */
const STREAM_HEADERS: Readonly<Record<string, RegExp>> = {
  'content-type': /text\/event-stream|application\/octet-stream/,
  'cache-control': /no-transform/,
  'content-encoding': /^identity$/,
};

function changes(
  { carrier, arrivals }: StreamTrace,
  answer: Answer | undefined,
): { changedHeaders?: readonly string[] } {
  if (carrier === 'websocket' || !answer || answer.status !== 200 || arrivals.length === 0) return {};
  const changed = Object.keys(STREAM_HEADERS).filter(
    (name) => !(STREAM_HEADERS[name] as RegExp).test(answer.headers[name] ?? ''),
  );
  if (!answer.isOurs) changed.push('throughline');
  return changed.length > 0 ? { changedHeaders: changed } : {};
}

function clumps({ arrivals }: StreamTrace): number {
  return arrivals.filter(({ atMs }, i) => i === 0 || atMs - (arrivals[i - 1]?.atMs ?? 0) > CLUMP_MS).length;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
}
