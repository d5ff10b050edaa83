import type { ProbedCarrier, ProxyKind, Verdict } from '../../chat/doctor.ts';

export type { DoctorReport, ProbedCarrier, ProxyKind, Verdict } from '../../chat/doctor.ts';

/** The rungs of the ladder, best first. */
export const RUNGS: readonly ProbedCarrier[] = ['sse', 'post-stream', 'websocket', 'long-poll', 'short-poll'];

/** Names in lower case. */
export type Headers = Readonly<Record<string, string>>;

/** The head of an answer, `atMs` after the request. */
export interface Answer {
  readonly atMs: number;
  readonly status: number;
  /** It bears the service's own mark. */
  readonly isOurs: boolean;
  readonly headers: Headers;
}

/** One event: sent `sentMs` after the first by the service's clock, here `atMs` after the request. */
export interface Arrival {
  readonly n: number;
  readonly sentMs: number;
  readonly atMs: number;
}

/** How a probe came to its end. */
export interface End {
  readonly atMs: number;
  readonly how:
    | 'clean'
    /** Torn, or refused before anything came. */
    | 'torn'
    /** Nothing came any more, and the probe's own patience ended. */
    | 'silent'
    /** The service said that it stops. */
    | 'stopped';
}

/** What came of a stream that should bring an event each second for `seconds`. It grows while the probe runs. */
export interface StreamTrace {
  readonly kind: 'stream';
  readonly carrier: 'sse' | 'post-stream' | 'websocket';
  readonly seconds: number;
  answer?: Answer;
  readonly arrivals: Arrival[];
  /** Characters that are no part of any event that the service sends; the beginning is kept. */
  strange: string;
  end?: End;
}

/** What came of a poll that should be answered after `waitMs`. */
export interface PollTrace {
  readonly kind: 'poll';
  readonly waitMs: number;
  readonly isDripping: boolean;
  /** Since the examination began. */
  startedMs?: number;
  answer?: Answer;
  /** When each piece of the body came. */
  readonly piecesAtMs: number[];
  /** The body is the service's own answer to this very request. */
  isGenuine?: boolean;
  strange: string;
  end?: End;
}

/** The service's word on how the request looked when it arrived. */
export interface Echo {
  readonly httpVersion: string;
  readonly headers: Headers;
  /** Whether the service offers WebSockets at all. */
  readonly websocket: boolean;
}

/** Everything that was measured. */
export interface Evidence {
  readonly streams: readonly StreamTrace[];
  /** Held: plain, dripping, and for a short while only. */
  readonly heldPolls: readonly PollTrace[];
  readonly shortPolls: readonly PollTrace[];
  readonly echo: Echo | undefined;
  /** The head of the echo's answer, ours or not. */
  readonly echoAnswer: Answer | undefined;
}

/** What a carrier is up to here. */
export interface Finding {
  readonly carrier: ProbedCarrier;
  readonly verdict: Verdict;
  /** `arrives`: from asking to hearing, once it runs; `delayed`: how late the later events are. */
  readonly latencyMs?: number;
  /** `held`: when something came, if ever; `cut`: when it ended. */
  readonly atMs?: number;
  /** `refused`: what was answered, if that is known. */
  readonly status?: number;
  /** The service doesn't offer it. */
  readonly isOff?: boolean;
  /** `cut`: no end was seen; nothing came any more. */
  readonly isMute?: boolean;
  /** What makes it usable in spite of all. */
  readonly needs?: 'rotation' | 'dripping' | 'short holds';
  /** Not the network's doing: the service stopped, or was too busy to be examined. */
  readonly fault?: 'stopped' | 'busy';
  /** Headers of the service that were changed or taken away. */
  readonly changedHeaders?: readonly string[];
}

/** The findings put together. */
export interface Diagnosis {
  readonly findings: readonly Finding[];
  readonly carrier: ProbedCarrier | 'none';
  readonly proxy: ProxyKind;
  /** Whether the service itself failed meanwhile, so that nothing can be said of the network. */
  readonly isSpoilt: boolean;
  /** A quiet connection is closed after so long. */
  readonly idleCutMs?: number;
  readonly httpVersion?: string;
}
