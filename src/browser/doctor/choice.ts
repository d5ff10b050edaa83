import { nameProxy } from './proxy.ts';
import {
  type Diagnosis,
  type Evidence,
  type Finding,
  type ProbedCarrier,
  RUNGS,
  type StreamTrace,
} from './trace.ts';
import { judgeHeldPolls, judgePoll, judgeShortPolls, judgeStream } from './verdict.ts';

/** How often the short poll is tried. */
export const SHORT_POLLS = 4;

/** The carrier that the client will use here: the best that arrives, or lasts long enough to be renewed in time. */
export function chooseCarrier(findings: readonly Finding[]): ProbedCarrier | 'none' {
  const isUsable = ({ verdict, needs }: Finding) => verdict === 'arrives' || needs === 'rotation';
  const usable = (rung: ProbedCarrier) => findings.some((one) => one.carrier === rung && isUsable(one));
  return RUNGS.find(usable) ?? 'none';
}

/** What is known of a carrier once its probes are over; undefined until then. */
export function findingSoFar(evidence: Evidence, carrier: ProbedCarrier): Finding | undefined {
  const isOver = ({ end }: { end?: unknown }) => end !== undefined;
  const { streams, heldPolls, shortPolls } = evidence;
  if (carrier === 'long-poll') return heldPolls.every(isOver) ? judgeHeldPolls(heldPolls) : undefined;
  if (carrier === 'short-poll')
    return shortPolls.length === SHORT_POLLS && shortPolls.every(isOver)
      ? judgeShortPolls(shortPolls)
      : undefined;
  const stream = streams.find((one) => one.carrier === carrier);
  return stream && isOver(stream) ? judge(stream, evidence) : undefined;
}

/** What all that was measured amounts to. `isUp`: whether the service could still be reached at the end. */
export function diagnose(evidence: Evidence, isUp: boolean): Diagnosis {
  const findings = [
    ...evidence.streams.map((stream) => judge(stream, evidence)),
    judgeHeldPolls(evidence.heldPolls),
    judgeShortPolls(evidence.shortPolls),
  ];
  const isAllWell = findings.every(({ verdict, isOff }) => verdict === 'arrives' || isOff);
  const reachedOnce = findings.some(({ verdict }) => verdict !== 'unreachable' && verdict !== 'refused');
  const idleCutMs = idleCut(evidence);
  return {
    findings,
    carrier: chooseCarrier(findings),
    proxy: nameProxy(evidence, isAllWell),
    isSpoilt: (!isUp && reachedOnce) || findings.some(({ fault }) => fault !== undefined),
    ...(idleCutMs !== undefined && { idleCutMs }),
    ...(evidence.echo && { httpVersion: evidence.echo.httpVersion }),
  };
}

function judge(stream: StreamTrace, { echo }: Evidence): Finding {
  const isOff = stream.carrier === 'websocket' && echo?.websocket === false;
  return isOff ? { carrier: 'websocket', verdict: 'refused', isOff } : judgeStream(stream);
}

/** The plain poll is quiet until its answer; where it is cut and the dripping one isn't, quiet is what was cut. */
function idleCut({ heldPolls }: Evidence): number | undefined {
  const judged = heldPolls.map((poll) => ({ poll, finding: judgePoll('long-poll', poll) }));
  const plain = judged.find(({ poll }) => !poll.isDripping)?.finding;
  const dripping = judged.find(({ poll }) => poll.isDripping)?.finding;
  const wasCut = plain?.verdict === 'cut' || (plain?.verdict === 'refused' && (plain.status ?? 0) >= 500);
  return wasCut && dripping?.verdict === 'arrives' ? plain?.atMs : undefined;
}
