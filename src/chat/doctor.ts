import { z } from 'zod';
import { parse } from './parsing.ts';

/** The ladder's rungs that the doctor tries, best first. */
export const PROBED_CARRIERS = ['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'] as const;

export type ProbedCarrier = (typeof PROBED_CARRIERS)[number];

/** What a network does to a carrier. */
export const VERDICTS = [
  'arrives',
  /** Events come late, in clumps. */
  'delayed',
  /** Nothing, or nearly nothing, comes before the end. */
  'held',
  /** It begins well, and is ended or falls silent before its time. */
  'cut',
  /** Somebody on the way answers in the service's place, or declines the upgrade. */
  'refused',
  /** Something comes that the service didn't send. */
  'altered',
  'unreachable',
] as const;

export type Verdict = (typeof VERDICTS)[number];

/** Kinds of proxy that the doctor knows by what they leave in headers and error pages. */
export const PROXY_KINDS = [
  'nginx',
  'apache',
  'haproxy',
  'squid',
  'varnish',
  'iis',
  'envoy',
  'cloudflare',
  'mitmproxy',
  /** Antivirus, TLS inspection, content filters. */
  'scanner',
  /** Something alters or marks the traffic, and isn't known here. */
  'unknown',
  'none',
] as const;

export type ProxyKind = (typeof PROXY_KINDS)[number];

/** What a browser's doctor found out, as it may be counted: closed values only. */
export interface DoctorReport {
  readonly carrier: ProbedCarrier | 'none';
  readonly verdicts: Readonly<Record<ProbedCarrier, Verdict>>;
  readonly proxy: ProxyKind;
}

const verdict = z.enum(VERDICTS, `must be one of ${VERDICTS.join(', ')}`);

const report = z.strictObject({
  carrier: z.enum([...PROBED_CARRIERS, 'none'], 'must be a carrier, or none'),
  verdicts: z.strictObject(
    {
      sse: verdict,
      'post-stream': verdict,
      websocket: verdict,
      'long-poll': verdict,
      'short-poll': verdict,
    },
    'must be an object',
  ),
  proxy: z.enum(PROXY_KINDS, 'must be a kind of proxy that is known here'),
});

/** Reads a report. Refusal: `invalid_field`. */
export function parseDoctorReport(value: unknown): DoctorReport {
  return parse(report, value);
}
