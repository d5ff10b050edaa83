import { writeFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningServer } from '../src/server.ts';
import { type OpenRoute, openRoute } from './proxies/open-route.ts';
import { findProgram } from './proxies/programs.ts';
import { endingsOf, errorsOf, faultsOf, type Report, summaryOf, tableOf } from './proxies/report.ts';
import { HEARTBEAT_MS, ROUTES, type Route } from './proxies/routes.ts';
import { runRoute } from './proxies/run-route.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';

const SECONDS = Number(process.env['GAUNTLET_SECONDS'] ?? 60);
/** A file that the table is written to. */
const TABLE = process.env['GAUNTLET_TABLE'];
/** What the names of the routes to run match; all by default. */
const ONLY = new RegExp(process.env['GAUNTLET_ONLY'] ?? '');
// So that not all of them come at once to a machine of two cores.
const APART_MS = 150;
/** Longer than this process keeps itself busy at a stretch (60 ms were measured), in ms. */
const STARVED_MS = 150;
/** Routes at once the second time; if more than these were late, it is no accident. */
const FEWER = 14;

const routes = ROUTES.filter(({ name }) => ONLY.test(name));
const isMissing = ({ program }: Route) =>
  program !== undefined && findProgram(program.program) === undefined && process.env['CI'] !== 'true';

let redis: TestRedis;
let server: RunningServer;
const opened = new Map<Route, OpenRoute>();
/** What came of a route, and the longest that this process was kept from its work meanwhile. */
interface Outcome {
  readonly report: Report;
  readonly stallMs: number;
}

/** Of each time that a route was run; the last one counts. */
const outcomes = new Map<Route, Outcome[]>();
const failures = new Map<Route, unknown>();

async function runAll(chosen: readonly Route[], poster: Person, prefix: string): Promise<void> {
  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  const reports = new Map<Route, Report>();
  await Promise.all(
    chosen.map(async (route, index) => {
      await pause(index * APART_MS);
      const room = `${prefix}-${index}`;
      await poster.send('/api/rooms', { room });
      const person = await Person.logIn(server.url, room);
      const run = { seconds: SECONDS, room, poster, person, seed: routes.indexOf(route) + 1 };
      try {
        reports.set(route, await runRoute(route, opened.get(route) as OpenRoute, run));
      } catch (error) {
        failures.set(route, error);
      }
    }),
  );
  const stallMs = Math.round(loop.max / 1e6);
  for (const [route, report] of reports)
    outcomes.set(route, [...(outcomes.get(route) ?? []), { report, stallMs }]);
}

/**
 * With all routes at once two cores may be what made it late: with few around it, it has to be in time. Where it ended is
 * excused by nothing but a process that had no time.
 */
function isToRunAgain(route: Route): boolean {
  const { report, stallMs } = outcomes.get(route)?.at(-1) ?? {};
  if (report === undefined || faultsOf(report).length === 0 || errorsOf(report).length > 0) return false;
  return (stallMs ?? 0) > STARVED_MS || endingsOf(report).length === 0;
}

beforeAll(
  async () => {
    redis = await startTestRedis();
    server = await startTestServer(testConfig(redis, { heartbeatMs: HEARTBEAT_MS }));
    const poster = await Person.logIn(server.url, 'poster');
    const port = Number(new URL(server.url).port);
    const there = routes.filter((route) => !isMissing(route));
    await Promise.all(
      there.map((route) =>
        openRoute(route, port).then(
          (open) => void opened.set(route, open),
          (error) => void failures.set(route, error),
        ),
      ),
    );
    await runAll([...opened.keys()], poster, 'route');
    const late = [...opened.keys()].filter(isToRunAgain);
    const isStarved = late.some((route) => (outcomes.get(route)?.[0]?.stallMs ?? 0) > STARVED_MS);
    if (late.length > FEWER && !isStarved) return;
    for (let index = 0; index < late.length; index += FEWER) {
      await runAll(late.slice(index, index + FEWER), poster, `again-${index}`);
    }
  },
  (4 * SECONDS + 240) * 1000,
);

afterAll(async () => {
  // Of the first time, when all were run at once.
  const first = routes.flatMap((route) => outcomes.get(route)?.[0]?.report ?? []);
  if (TABLE) await writeFile(TABLE, `${tableOf(first)}\n`);
  await Promise.all([...opened.values()].map((open) => open.stop()));
  await server.close();
  await redis.stop();
}, 30_000);

describe('the client, with traffic both ways, misses nothing, sees nothing twice, and nothing late', () => {
  for (const route of routes) {
    const isSkipped = isMissing(route);
    const program = route.program?.program;
    const why = isSkipped ? ` (skipped: ${program} isn’t installed; npm run setup -- --tests)` : '';
    test.skipIf(isSkipped)(`${route.name}: ${route.does}${why}`, () => {
      if (failures.has(route)) throw failures.get(route);
      const all = outcomes.get(route) ?? [];
      const words = all.map(
        ({ report, stallMs }) =>
          `${summaryOf(report)}; this process was kept waiting for up to ${stallMs} ms`,
      );
      if (words.length > 1) console.warn(`run again: ${words.join('; then ')}`);
      const last = all.at(-1) as Outcome;
      expect(faultsOf(last.report), words.join('; then ')).toEqual([]);
    });
  }
});
