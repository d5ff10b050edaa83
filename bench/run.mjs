// `npm run bench` (after `npm run build`): Throughline, as `npm start` runs it, against nginx with nchan, Socket.IO with its Redis
// Streams adapter, and a plain Express app; all over Redis, each side on one core and the load on another, in turn, in one run.
// Missing peers are installed (Debian's libnginx-mod-nchan; bench/peers by npm). A whole run writes bench/RESULTS.md and its plots.
// What is measured is dist/, of the commit that is checked out when the run begins.
//
//   npm run bench -- --rows=1,6     only these rows (see rows/); written only with --write
//   npm run bench -- --quick        small numbers, to see that everything works; never written
//   --out=FOLDER                    writes there, whatever was run
//   --sides=throughline,nchan       only these sides (throughline, nchan, socket.io, plain, bare-express, bare-sessions, bare-append, bare)
//   --redis=aof                     only one of the two settings of Redis (aof, memory)
//   --runs=3                        medians of so many measurements
//   --soak=3600                     seconds of comings and goings in row 5 (60)
//   --storm-of-all                  row 4 with Socket.IO too, which takes long
//
// rows/ is what is measured; sides/ how each server is started, dialects/ how it is spoken to; load/ the load generator, a process
// of its own; rig/ processes, Redis, figures, the report.
import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { commitAt, isBuilt } from './rig/machine.mjs';
import { Measuring } from './rig/measuring.mjs';
import { svgOf } from './rig/plot.mjs';
import { ROOT } from './rig/processes.mjs';
import { STORES } from './rig/redis.mjs';
import { report } from './rig/report.mjs';
import { NAMES } from './rig/side.mjs';
import * as fanOut from './rows/1-fan-out.mjs';
import * as manyRooms from './rows/2-many-rooms.mjs';
import * as latency from './rows/3-latency.mjs';
import * as storm from './rows/4-storm.mjs';
import * as memory from './rows/5-memory.mjs';
import * as posts from './rows/6-posts.mjs';
import * as longPoll from './rows/7-long-poll.mjs';
import * as curves from './rows/8-curves.mjs';
import * as oneRedis from './rows/9-redis.mjs';
import * as workers from './rows/10-workers.mjs';
import * as confirmations from './rows/11-confirmations.mjs';
import * as metrics from './rows/12-metrics.mjs';
import { installNchan } from './sides/nchan.mjs';
import { installSocketIo } from './sides/socket-io.mjs';

const ROWS = [
  fanOut,
  manyRooms,
  latency,
  storm,
  memory,
  posts,
  longPoll,
  curves,
  oneRedis,
  workers,
  confirmations,
  metrics,
];
/** Of a whole run, which takes three quarters of an hour, and twice that where others take their part of the machine. Beyond it something hangs. */
const LIMIT_MS = 120 * 60_000;

const { values: asked } = parseArgs({
  options: {
    rows: { type: 'string' },
    sides: { type: 'string', default: Object.keys(NAMES).join(',') },
    redis: { type: 'string', default: Object.keys(STORES).join(',') },
    runs: { type: 'string', default: '1' },
    soak: { type: 'string' },
    out: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    'storm-of-all': { type: 'boolean', default: false },
  },
});
const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
  ' ',
);
const rows = asked.rows ? ROWS.filter(({ row }) => asked.rows.split(',').includes(String(row))) : ROWS;
const measuring = new Measuring({
  isQuick: asked.quick,
  runs: Number(asked.runs),
  sides: asked.sides.split(','),
  stores: asked.redis.split(','),
  soakSeconds: Number(asked.soak ?? (asked.quick ? 5 : 60)),
  isStormOfAll: asked['storm-of-all'],
});

if (!isBuilt(ROOT)) {
  console.error('There is no dist/, or src/ is newer: `npm run build` first.');
  process.exit(1);
}
const commit = commitAt(ROOT);
const limitMs = LIMIT_MS * measuring.runs + measuring.soakSeconds * 1000;
setTimeout(() => {
  console.error(`Stopped: the bench was not done within ${limitMs / 60_000} minutes. Nothing was written.`);
  process.exit(1);
}, limitMs).unref();

const began = Date.now();
const loads = [loadavg()[0]];
let hasFailed = false;
try {
  if (measuring.sides.includes('nchan')) installNchan();
  if (measuring.sides.includes('socket.io')) installSocketIo();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
for (const { row, title, run } of rows) {
  console.log(`${row}. ${title}`);
  const start = Date.now();
  try {
    await run(measuring);
  } catch (error) {
    // What this row has measured before stays; the others are measured all the same.
    hasFailed = true;
    measuring.note(`**Not all of row ${row} was measured**: ${error.message}`);
  }
  console.log(`  (${Math.round((Date.now() - start) / 1000)} s)`);
}
loads.push(loadavg()[0]);
const isWritten = !asked.quick && (asked.rows === undefined || asked.write);
const folder = asked.out ?? (isWritten ? join(ROOT, 'bench') : undefined);
const plots = measuring.plots.length > 0 ? [{ file: 'curves.svg', alt: 'Curves' }] : [];
const text = report(measuring, { command, commit, seconds: (Date.now() - began) / 1000, loads, plots });
console.log(`\n${text}`);
if (folder !== undefined) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'RESULTS.md'), text);
  for (const { file } of plots) writeFileSync(join(folder, file), svgOf(measuring.plots));
} else
  console.log('Not written: only a whole run is, or one of some rows with --write, or anything with --out.');
process.exit(hasFailed ? 1 : 0);
