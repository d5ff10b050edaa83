import type { Request, Response } from 'express';
import { parseDoctorReport } from '../chat/doctor.ts';
import { beatFrame, PROBE_LIFE_MS, secondsOf, startBeat } from './doctor-beat.ts';
import type { ProbePlaces } from './doctor-places.ts';
import { startDrip } from './drip.ts';
import { numberOf, parametersOf } from './reading-request.ts';
import type { Service } from './service.ts';
import { writeStreamHead } from './stream.ts';
import { byeFrame, PADDING } from './stream-sink.ts';
import { whenOver } from './when-over.ts';

/** Probes ask neither who one is nor Redis, so that what they measure is the network and nothing else. */
type Probing = Pick<Service, 'probes'>;

const WAIT_SECONDS = { min: 0, max: 35, otherwise: 25 };
const TOLD_BACK_CHARACTERS = 200;
const ANY_TOKEN = /^[\w-]{1,64}$/;

/** Request headers that proxies add or change, and that are told back to whoever asks. */
const TELLING_HEADERS = [
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-server',
  'x-forwarded-proto',
  'forwarded',
  'x-real-ip',
  'connection',
  'proxy-connection',
  'accept-encoding',
  'cache-control',
  'max-forwards',
  'x-bluecoat-via',
  'x-cache',
  'x-varnish',
  'x-arr-log-id',
  'x-original-url',
  'x-envoy-external-address',
  'x-request-id',
  'cf-ray',
  'cdn-loop',
  'x-zscaler-client-ip',
  'x-iwproxy-nesting',
  'x-imforwards',
  'x-mcproxyfilter',
] as const;

/**
 * `GET|POST /api/doctor/stream?seconds=`: a stream like the real one, that carries only its own times
 * (`{kind, n, sentMs}`) and ends by itself.
 */
export function probeStream({ probes }: Probing) {
  return (req: Request, res: Response): void => {
    const seconds = secondsOf(parametersOf(req));
    const { atEnd, finish } = hold(probes, res, () => byeFrame({ code: 'shutting_down' }).sse);
    writeStreamHead(req, res);
    res.flushHeaders();
    atEnd(
      startBeat(seconds, {
        tell: (n, sentMs) => res.write(beatFrame(n, sentMs).sse),
        pad: () => res.write(PADDING),
        done: () => finish(),
      }),
    );
  };
}

/**
 * `GET /api/doctor/poll?wait=&drip=1&t=`: `{t, waitedMs}` after `wait` seconds, dripping before it as a real poll does.
 * `t` comes back, so that an answer out of a cache shows.
 */
export function probePoll({ probes }: Probing) {
  return (req: Request, res: Response): void => {
    const parameters = parametersOf(req);
    const waitMs = Math.ceil(numberOf(parameters, 'wait', WAIT_SECONDS) * 1000);
    const t = parameters.get('t') ?? '';
    const answer = (more: object) =>
      JSON.stringify({ kind: 'answer', ...(ANY_TOKEN.test(t) && { t }), ...more });
    const { atEnd, finish } = hold(probes, res, () => answer({ code: 'shutting_down' }));
    const startedAt = performance.now();
    res.set('Content-Type', 'application/json; charset=utf-8');
    if (parameters.get('drip') === '1') {
      const drip = startDrip(res);
      atEnd(() => clearInterval(drip));
    }
    const waitedMs = () => Math.round(performance.now() - startedAt);
    const timer = setTimeout(() => finish(answer({ waitedMs: waitedMs() })), waitMs);
    atEnd(() => clearTimeout(timer));
  };
}

/** `GET /api/doctor/echo`: how the request looked when it got here. Told to nobody but who sent it. */
export function echoRequest({ config }: Pick<Service, 'config'>) {
  return (req: Request, res: Response): void => {
    const headers: Record<string, string> = {};
    for (const name of TELLING_HEADERS) {
      const value = req.get(name);
      if (value !== undefined) headers[name] = value.slice(0, TOLD_BACK_CHARACTERS);
    }
    const websocket = config.websocket === 'on';
    res.json({ kind: 'echo', httpVersion: req.httpVersion, headers, websocket });
  };
}

/** `POST /api/doctor`: counts what a browser found out. Refusals: `no_session`, `invalid_field`, `too_fast`. */
export function takeReport({ authority, doctorCounts, log }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const report = parseDoctorReport(req.body ?? {});
    const { userKey } = await authority.identify(authority.ticketOf(req));
    await doctorCounts.add(userKey, report);
    const { carrier, verdicts, proxy } = report;
    log.info({ carrier, proxy, ...verdicts }, 'a browser’s doctor reported');
    res.status(204).end();
  };
}

/** A probe that has a place. */
interface Held {
  /** What is to be stopped when it is over. */
  atEnd(stop: () => void): void;
  /** Ends it with its last words, once, and gives its place back. */
  finish(lastWords?: Buffer | string): void;
}

/** Takes a place for as long as the response lasts. Refusal: `unavailable`. */
function hold(probes: ProbePlaces, res: Response, lastWords: () => Buffer | string): Held {
  const stops: (() => void)[] = [];
  let isOver = false;
  const beOver = () => {
    isOver = true;
    clearTimeout(overdue);
    leave();
    for (const stop of stops.splice(0)) stop();
  };
  const finish = (words?: Buffer | string) => {
    if (isOver) return;
    beOver();
    res.end(words);
  };
  const leave = probes.take(() => finish(lastWords()));
  const overdue = setTimeout(() => {
    beOver();
    // One that waits for its turn on a pipelined connection has none of its own to be cut.
    res.req.socket.destroy();
  }, PROBE_LIFE_MS);
  whenOver(res, beOver);
  return { atEnd: (stop) => void (isOver ? stop() : stops.push(stop)), finish };
}
