import type { CarrierName, OfflineReason, State } from '../../src/browser/feed.ts';
import type { Route } from './routes.ts';

/** A message that the client was told. */
export interface Timing {
  readonly key: string;
  /** When, counted from the first message. */
  readonly toldAfterMs: number;
  /** From the moment that the service had it (or the route was open again) until the client was told. */
  readonly lateMs: number;
}

/** What became of the messages on a route. */
export interface Report {
  readonly route: Route;
  readonly messages: number;
  /** Accepted by the service, and never told to the client. */
  readonly lost: readonly string[];
  /** Still in the client's outbox at the end. */
  readonly unsent: readonly string[];
  readonly doubled: number;
  /** Told in another order than the log has them, or in the log in another order than posted. */
  readonly disordered: number;
  readonly gaps: number;
  readonly firstMs: number | undefined;
  /** The latest one last. */
  readonly timings: readonly Timing[];
  /** What carried, one after the other. */
  readonly carriers: readonly CarrierName[];
  readonly phase: State['phase'];
  readonly offline: readonly OfflineReason[];
}

/** What is wrong with a run, in words; nothing if all is as it has to be. */
export function faultsOf(report: Report): string[] {
  return [...errorsOf(report), ...delaysOf(report), ...endingsOf(report)];
}

/** What is wrong with a run however busy the machine was: a message that was accepted and never told is no late one. */
export function errorsOf({ lost, doubled, disordered, gaps }: Report): string[] {
  return [
    ...(lost.length > 0 ? [`lost ${lost.length}: ${lost.slice(0, 5).join(', ')}`] : []),
    ...(doubled > 0 ? [`doubled ${doubled}`] : []),
    ...(disordered > 0 ? [`out of order ${disordered}`] : []),
    ...(gaps > 0 ? [`${gaps} gaps`] : []),
  ];
}

/** What came too late, or wasn't sent by the end. */
function delaysOf(report: Report): string[] {
  const { route, unsent, firstMs = Infinity } = report;
  const { withinMs, firstWithinMs = withinMs } = route;
  const worst = worstOf(report);
  return [
    ...(unsent.length > 0 ? [`not sent: ${unsent.slice(0, 5).join(', ')}`] : []),
    ...(firstMs > firstWithinMs
      ? [`the first message took ${rounded(firstMs)} ms, not ${firstWithinMs}`]
      : []),
    ...(worst > withinMs ? [`the latest message took ${rounded(worst)} ms, not ${withinMs}`] : []),
  ];
}

/** What is wrong with where the client ended, and with what it said of itself. */
export function endingsOf({ route, carriers, phase, offline }: Report): string[] {
  const { ends, saysOffline } = route;
  const end = carriers.at(-1);
  return [
    ...(!end || !ends.includes(end) ? [`ended on ${end}, not on ${ends.join(' or ')}`] : []),
    ...(phase !== 'live' ? [`was ${phase} at the end`] : []),
    ...(saysOffline && !offline.some((reason) => saysOffline.includes(reason))
      ? [`never said offline because ${saysOffline.join(' or ')}`]
      : []),
  ];
}

/** A run in one line. */
export function summaryOf(report: Report): string {
  const { route, messages, firstMs, timings, carriers, phase, offline } = report;
  const late = timings
    .slice(-5)
    .map(({ key, toldAfterMs, lateMs }) => `${rounded(lateMs)} ms (${key}, at ${rounded(toldAfterMs)})`)
    .join(', ');
  const reasons = offline.length > 0 ? `; offline: ${[...new Set(offline)].join(', ')}` : '';
  return `${route.name}: ${messages} messages, first ${rounded(firstMs)} ms, latest ${late}; ${carriers.join(' → ')}, ${phase}${reasons}`;
}

/** The runs as a table in Markdown. */
export function tableOf(reports: readonly Report[]): string {
  const rows = reports.map((report) => {
    const { route, messages, lost, doubled, firstMs, timings, carriers } = report;
    const p99 = timings[Math.ceil(timings.length * 0.99) - 1]?.lateMs;
    const cells = [route.name, route.does, carriers.at(-1), messages, lost.length, doubled];
    return `| ${[...cells, rounded(firstMs), rounded(p99), rounded(worstOf(report))].join(' | ')} |`;
  });
  return [
    '| route | what it does | ends on | messages | lost | doubled | first, ms | p99, ms | worst, ms |',
    '| --- | --- | --- | --: | --: | --: | --: | --: | --: |',
    ...rows,
  ].join('\n');
}

function worstOf({ timings }: Report): number {
  return timings.at(-1)?.lateMs ?? 0;
}

function rounded(ms: number | undefined): string {
  return ms === undefined ? '—' : String(Math.round(ms));
}
