import { writeFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningServer } from '../src/server.ts';
import { type OpenRoute, openRoute } from './proxies/open-route.ts';
import { findProgram } from './proxies/programs.ts';
import { errorsOf, faultsOf, type Report, summaryOf, tableOf } from './proxies/report.ts';
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
/** Routes at once the second time. */
const FEWER = 14;

const routes = ROUTES.filter(({ name }) => ONLY.test(name));
const isMissing = ({ program }: Route) =>
  program !== undefined && findProgram(program.program) === undefined && process.env['CI'] !== 'true';

let redis: TestRedis;
let server: RunningServer;
const opened = new Map<Route, OpenRoute>();
const reports = new Map<Route, Report>();
const failures = new Map<Route, unknown>();

/** The longest that this process was kept from its work, last time. */
let stallMs = 0;

async function runAll(chosen: readonly Route[], poster: Person, prefix: string): Promise<void> {
  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  await Promise.all(
    chosen.map(async (route, index) => {
      await pause(index * APART_MS);
      const room = `${prefix}-${index}`;
      await poster.send('/api/rooms', { room });
      const person = await Person.logIn(server.url, room);
      const run = { seconds: SECONDS, room, poster, person, seed: index + 1 };
      try {
        reports.set(route, await runRoute(route, opened.get(route) as OpenRoute, run));
      } catch (error) {
        failures.set(route, error);
      }
    }),
  );
  stallMs = Math.round(loop.max / 1e6);
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
    const isLate = (route: Route) => {
      const report = reports.get(route);
      return report !== undefined && faultsOf(report).length > 0 && errorsOf(report).length === 0;
    };
    // With all of them at once two cores may be what made it late; with few around it, it has to be in time.
    const late = [...opened.keys()].filter(isLate);
    for (let index = 0; index < late.length; index += FEWER) {
      await runAll(late.slice(index, index + FEWER), poster, `again-${index}`);
    }
  },
  (4 * SECONDS + 240) * 1000,
);

afterAll(async () => {
  if (TABLE) await writeFile(TABLE, `${tableOf(routes.flatMap((route) => reports.get(route) ?? []))}\n`);
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
      const report = reports.get(route) as Report;
      const words = `${summaryOf(report)}; this process was kept waiting for up to ${stallMs} ms`;
      expect(faultsOf(report), words).toEqual([]);
    });
  }
});
