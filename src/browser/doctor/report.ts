import type { Diagnosis, DoctorReport, Evidence, Finding, ProbedCarrier, Verdict } from './trace.ts';
import { CARRIERS, explain, PROXIES, REPORT, seconds, VERDICTS } from './words.ts';

/** The closed values that may be sent and counted, and nothing else. */
export function closedValues({ findings, carrier, proxy }: Diagnosis): DoctorReport {
  const verdictOf = (one: ProbedCarrier): Verdict =>
    findings.find((finding) => finding.carrier === one)?.verdict ?? 'unreachable';
  return {
    carrier,
    verdicts: {
      sse: verdictOf('sse'),
      'post-stream': verdictOf('post-stream'),
      websocket: verdictOf('websocket'),
      'long-poll': verdictOf('long-poll'),
      'short-poll': verdictOf('short-poll'),
    },
    proxy,
  };
}

/** The report as plain text, to be copied and passed on by hand. Addresses in headers are left out. */
export function writeReport(
  diagnosis: Diagnosis,
  evidence: Evidence,
  { url, at, browser }: { url: string; at: string; browser: string },
): string {
  const lines = [
    REPORT.title,
    `${REPORT.of}: ${url}`,
    `${REPORT.at}: ${at}`,
    `${REPORT.browser}: ${browser}`,
    '',
    ...(diagnosis.isSpoilt ? [REPORT.spoilt] : []),
    `${REPORT.uses}: ${CARRIERS[diagnosis.carrier].name}`,
    `${REPORT.proxy}: ${PROXIES[diagnosis.proxy]}`,
    ...(diagnosis.httpVersion ? [`${REPORT.httpVersion}/${diagnosis.httpVersion}`] : []),
    ...(diagnosis.idleCutMs === undefined ? [] : [`${REPORT.idle} ${seconds(diagnosis.idleCutMs)}`]),
    '',
    ...diagnosis.findings.map(lineOf),
  ];
  const request = Object.entries(evidence.echo?.headers ?? {});
  const answers = [evidence.echoAnswer, ...evidence.streams.map(({ answer }) => answer)];
  const answered = answers.find((answer) => answer !== undefined)?.headers ?? {};
  for (const [title, headers] of [
    [REPORT.requestHeaders, request],
    [REPORT.answerHeaders, Object.entries(answered)],
  ] as const) {
    if (headers.length === 0) continue;
    lines.push(
      '',
      `${title}:`,
      ...headers.map(([name, value]) => `  ${name}: ${withoutAddress(name, value)}`),
    );
  }
  return `${lines.join('\n')}\n`;
}

function lineOf(finding: Finding): string {
  return `${CARRIERS[finding.carrier].name} [${finding.carrier}]: ${VERDICTS[finding.verdict]}. ${explain(finding)}`;
}

/** Headers whose value is the address of whoever asks. */
const ADDRESSES = /^(?:x-forwarded-for|x-real-ip|forwarded|x-envoy-external-address|x-zscaler-client-ip)$/;

function withoutAddress(name: string, value: string): string {
  return ADDRESSES.test(name) ? '(an address)' : value;
}
