// `npm run bench` (after `npm run build`): Throughline against plain Express, in one run of less than three minutes.
// Servers (and Throughline's Redis) share core 0, the load generator has core 1. Writes bench/RESULTS.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RUNS = 3;
const READERS = 1000;
const FEW_READERS = 10;
const SESSIONS = 8;
const IN_FLIGHT = 16;
const FAN_OUT = { warmMs: 1500, ms: 4000, inFlight: IN_FLIGHT };
const LATENCY = { perSecond: 10, count: 100 };
const BACK = 100;
const LIMIT_MS = 178_000;
/** Above this share of a core taken by others, or this much of one by the load generator, a run is called noisy. */
const NOISE = 0.1;
const SATURATED = 0.95;
const JIFFY_MS = 10;

const canPin = availableParallelism() > 1 && existsSync('/usr/bin/taskset');
const children = new Set();
const folders = new Set();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
setTimeout(() => {
  console.error(`Stopped: the bench was not done within ${LIMIT_MS / 1000} s. Nothing was written.`);
  process.exit(1);
}, LIMIT_MS).unref();

function start(core, program, args, { env = {}, stdio = ['ignore', 'pipe', 'inherit'] } = {}) {
  const [command, ...rest] = canPin ? ['taskset', '-c', String(core), program, ...args] : [program, ...args];
  const child = spawn(command, rest, { cwd: ROOT, env: { ...process.env, ...env }, stdio });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.once('error', (error) => {
    console.error(`${program}: ${error.message}`);
    process.exit(1);
  });
  return child;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await exit;
  clearTimeout(timer);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a server of ours and waits for the line that says where it is. */
async function startServer(script, env) {
  const port = await freePort();
  const child = start(0, process.execPath, [script], { env: { ...env, PORT: String(port) } });
  const said = once(child.stdout, 'data').then(() => true);
  const isUp = await Promise.race([said, once(child, 'exit').then(() => false), pause(10_000, false)]);
  if (!isUp) throw new Error(`${script} did not start`);
  return { child, port };
}

async function openPlain() {
  const { child, port } = await startServer('bench/plain-express.mjs', {});
  return {
    pids: [child.pid],
    load: { port, cookies: [], streamPath: '/stream', postPath: '/messages', body: { name: 'bench' } },
    pathAfter: async (id) => `/stream?after=${id}`,
    countXranges: async (phase) => ({ figures: await phase() }),
    close: () => stop(child),
  };
}

/** Throughline on a redis-server of its own: on a loopback port, else with the settings of the embedded one. */
async function openThroughline() {
  const folder = mkdtempSync(join(tmpdir(), 'tl-bench-'));
  folders.add(folder);
  const redisPort = await freePort();
  const settings = { port: redisPort, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes' };
  const args = Object.entries({ ...settings, appendfsync: 'always' }).flatMap(([k, v]) => [`--${k}`, `${v}`]);
  const redis = start(0, 'redis-server', args, { stdio: 'ignore' });
  const client = new Redis(redisPort, '127.0.0.1', { maxRetriesPerRequest: 50, retryStrategy: () => 50 });
  client.on('error', () => {});
  await client.ping();
  const { child, port } = await startServer('dist/main.js', {
    HOST: '127.0.0.1',
    REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    POST_BURST: '1000000',
    POSTS_PER_SECOND: '1000000',
    LOG_LEVEL: 'silent',
    DRAIN_MS: '1000',
  });
  const url = `http://127.0.0.1:${port}`;
  const cookies = [];
  for (let i = 0; i < SESSIONS; i++) {
    const res = await fetch(`${url}/api/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: `bench-${i}` }),
    });
    if (res.status !== 201) throw new Error(`log-in: ${res.status} ${await res.text()}`);
    cookies.push(res.headers.get('set-cookie').split(';')[0]);
  }
  return {
    pids: [child.pid, redis.pid],
    load: {
      port,
      cookies,
      streamPath: '/api/stream?rooms=lobby',
      postPath: '/api/rooms/lobby/messages',
      body: {},
    },
    pathAfter: async (id) => {
      const res = await fetch(`${url}/api/rooms/lobby/messages`, { headers: { Cookie: cookies[0] } });
      const { cursor } = await res.json();
      return `/api/stream?rooms=lobby&after=${cursor.split('.')[0]}.${id}`;
    },
    /** How many XRANGE Redis ran meanwhile: in all (INFO commandstats), and on room logs (SLOWLOG of everything). */
    countXranges: async (phase) => {
      const inAll = async () =>
        Number(/^cmdstat_xrange:calls=(\d+)/m.exec(await client.info('commandstats'))?.[1] ?? 0);
      await client.config('SET', 'slowlog-max-len', '1000000');
      await client.config('SET', 'slowlog-log-slower-than', '0');
      const before = await inAll();
      await client.slowlog('RESET');
      const figures = await phase();
      const commands = (await client.slowlog('GET', 1_000_000)).map(([, , , args]) => args);
      const after = await inAll();
      await client.config('SET', 'slowlog-log-slower-than', '-1');
      const onLogs = commands.filter(([name, key]) => /^xrange$/i.test(name) && key.includes(':log:'));
      return { figures, xranges: { inAll: after - before, onLogs: onLogs.length } };
    },
    close: async () => {
      client.disconnect();
      await stop(child);
      await stop(redis);
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    },
  };
}

function startLoad() {
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc'];
  const child = start(1, process.execPath, ['bench/load.mjs'], { stdio });
  let onMark = () => {};
  let settle = { resolve: () => {}, reject: () => {} };
  child.on('message', ({ mark, error, figures }) => {
    if (mark !== undefined) onMark(mark);
    else if (error !== undefined) settle.reject(new Error(error));
    else settle.resolve(figures);
  });
  child.once('exit', () => settle.reject(new Error('the load generator ended')));
  const ask = (phase, options = {}, marked = () => {}) => {
    onMark = marked;
    return new Promise((resolve, reject) => {
      settle = { resolve, reject };
      child.send({ phase, ...options });
    });
  };
  return { child, ask };
}

/** Milliseconds that processes have run so far; 0 where /proc isn't there. */
function cpuMs(pids) {
  let sum = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
      sum += (Number(fields[11]) + Number(fields[12])) * JIFFY_MS;
    } catch {}
  }
  return sum;
}

function machineCpuMs() {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

/** Connections that the kernel dropped on this machine because a backlog was full. */
function listenDrops() {
  try {
    const [names, values] = readFileSync('/proc/net/netstat', 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('TcpExt:'))
      .map((line) => line.split(' '));
    return Number(values[names.indexOf('ListenOverflows')]);
  } catch {
    return 0;
  }
}

async function measure(open) {
  const server = await open();
  const load = startLoad();
  try {
    await load.ask('open', { target: server.load, count: READERS, posts: IN_FLIGHT });
    const at = {};
    const fanOut = await load.ask('fanOut', FAN_OUT, (mark) => {
      at[mark] = {
        server: cpuMs(server.pids),
        ours: cpuMs([...server.pids, load.child.pid, process.pid]),
        machine: machineCpuMs(),
      };
    });
    const serverCpu = (at.end.server - at.start.server) / FAN_OUT.ms;
    const others = (at.end.machine - at.start.machine - (at.end.ours - at.start.ours)) / FAN_OUT.ms;
    const latency = await load.ask('latency', LATENCY);
    const path = await server.pathAfter(latency.anchor);
    const reconnect = (count) =>
      server.countXranges(() => load.ask('reconnect', { count, path, expected: BACK }));
    const few = await reconnect(FEW_READERS);
    const dropped = listenDrops();
    const all = await reconnect(READERS);
    const drops = listenDrops() - dropped;
    await load.ask('close');
    return {
      eventsPerSecond: fanOut.eventsPerSecond,
      eventsPerServerCpuSecond: fanOut.eventsPerSecond / serverCpu,
      loadCpu: fanOut.loadCpu,
      serverCpu,
      others: Math.max(0, others),
      p50: latency.p50,
      p99: latency.p99,
      max: latency.max,
      latencyLoadCpu: latency.loadCpu,
      levelMs: all.figures.levelMs,
      drops,
      few: few.xranges,
      all: all.xranges,
    };
  } finally {
    await stop(load.child);
    await server.close();
  }
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];
const whole = (value) => Math.round(value).toLocaleString('en');
const ms = (value) => `${value.toFixed(1)} ms`;
const percent = (value) => `${Math.round(value * 100)} %`;

async function versionOf(program) {
  const child = spawn(program, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [text] = await Promise.race([once(child.stdout, 'data'), once(child, 'error').then(() => ['?'])]);
  return String(text).trim().split(' sha=')[0];
}

function report(runs, { seconds, redisVersion, loads }) {
  const of = (name, figure) => runs[name].map((run) => run[figure]);
  const row = (label, figure, format, verdict) => {
    const ours = of('throughline', figure);
    const theirs = of('plain', figure);
    const list = (values) => `${format(median(values))} (${sorted(values).map(format).join(', ')})`;
    const ratio = median(ours) / median(theirs);
    const shown = Number.isFinite(ratio) && format !== percent ? `${ratio.toFixed(2)} ×` : '–';
    return `| ${label} | ${list(ours)} | ${list(theirs)} | ${shown} | ${verdict(ratio)} |`;
  };
  const met = (isMet) => (isMet ? 'met' : '**not met**');
  const xranges = (figure, which) =>
    of('throughline', figure)
      .map((count) => count[which])
      .join(', ');
  const doesGrow = runs.throughline.some(({ all, few }) => all.onLogs > few.onLogs);
  const table = [
    '| figure | Throughline: median (each run) | plain Express: median (each run) | ratio | target |',
    '| --- | --- | --- | --- | --- |',
    row(
      `1. saturated fan-out, ${READERS} readers, ${IN_FLIGHT} in flight: delivered events/s`,
      'eventsPerSecond',
      whole,
      (r) => `≥ 2 ×: ${met(r >= 2)}`,
    ),
    row(
      '1b. the same per CPU second of the server (Throughline: with its Redis)',
      'eventsPerServerCpuSecond',
      whole,
      () => '–',
    ),
    row(`2. latency at ${LATENCY.perSecond} messages/s, p50`, 'p50', ms, () => '–'),
    row(`2. latency, p99`, 'p99', ms, (r) => `no worse (≤ 1 ×): ${met(r <= 1)}`),
    row('2. latency, longest', 'max', ms, () => '–'),
    row(
      `3. ${READERS} readers back at once, ${BACK} messages behind: until the last is level`,
      'levelMs',
      ms,
      () => '–',
    ),
    `| 3. XRANGE on room logs for ${READERS} such readers (for ${FEW_READERS}), each run | ${xranges('all', 'onLogs')} (${xranges('few', 'onLogs')}) | – | – | doesn’t grow with readers: ${met(!doesGrow)} |`,
    `| 3. XRANGE in all, the tail’s check of the journal each second included | ${xranges('all', 'inAll')} (${xranges('few', 'inAll')}) | – | – | – |`,
    row('CPU of the load generator in 1', 'loadCpu', percent, () => '–'),
    row('CPU of the server in 1', 'serverCpu', percent, () => '–'),
    row('CPU taken by others in 1', 'others', percent, () => '–'),
  ];
  const notes = [];
  for (const [name, list] of Object.entries(runs)) {
    for (const [i, run] of list.entries()) {
      const which = `Run ${i + 1} of ${name === 'plain' ? 'plain Express' : 'Throughline'}`;
      if (run.others > NOISE)
        notes.push(`- ${which} was noisy: others took ${percent(run.others)} of a core in 1.`);
      if (run.drops > 0)
        notes.push(
          `- ${which}: the kernel dropped ${run.drops} connections on this machine in 3 (tried again after 1 s).`,
        );
      if (run.loadCpu > SATURATED)
        notes.push(
          `- ${which}: the load generator was itself at ${percent(run.loadCpu)} of its core, so 1 is a lower bound there.`,
        );
    }
  }
  return `# Results of \`npm run bench\`

${table.join('\n')}

${notes.length > 0 ? notes.join('\n') : `- No run was noisy: others took less than ${percent(NOISE)} of a core, the load generator less than ${percent(SATURATED)} of its own.`}

Only the ratios count: both servers were measured alternately, ${RUNS} times each, by the same load generator.

- ${new Date().toISOString()}, \`npm run bench\`, ${Math.round(seconds)} s in all; load average ${loads.map((load) => load.toFixed(2)).join(' before, ')} after.
- Machine: ${availableParallelism()} cores, ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}.
- Node ${process.version}, Express ${JSON.parse(readFileSync(join(ROOT, 'node_modules/express/package.json'), 'utf8')).version}, ${redisVersion}.
- ${canPin ? 'Pinned with taskset: each server, and Throughline’s Redis with it, on core 0; the load generator on core 1.' : 'Not pinned: no taskset, or only one core.'}
- Throughline: \`node dist/main.js\`, POST_BURST and POSTS_PER_SECOND=1000000, LOG_LEVEL=silent, else the defaults; on a redis-server of the bench’s own on a loopback port, with the settings of the embedded one (appendonly yes, appendfsync always: what was acknowledged is on the disk). Plain Express (\`bench/plain-express.mjs\`) keeps messages in an array: no sessions, no checks, nothing on a disk.
- ${SESSIONS} sessions were logged in and shared by the ${READERS} readers and ${IN_FLIGHT} posting connections.
- 1: after ${FAN_OUT.warmMs / 1000} s of warm-up, ${FAN_OUT.ms / 1000} s; a message is posted whenever fewer than ${IN_FLIGHT} haven’t reached every reader. 2: from the post’s first byte leaving to each reader’s arrival, ${LATENCY.count} messages × ${READERS} readers. 3: from the first connect to the last reader’s ${BACK}th message; readers come as fast as they are answered, at most 400 unanswered, so that no listening backlog overflows. XRANGE in all is \`INFO commandstats\` after minus before; those on room logs are counted in Redis’ SLOWLOG, set to keep every command.
- “Others” is what all of the machine’s cores ran besides the bench: other programs, and the kernel’s own threads (writing Redis’ file among them).
- Each event was counted by a marker byte in its text; a run with a message too few or too many is an error, not a figure.
`;
}

if (!existsSync(join(ROOT, 'dist/main.js'))) {
  console.error('There is no dist/: `npm run build` first.');
  process.exit(1);
}
const began = Date.now();
const loads = [loadavg()[0]];
const runs = { throughline: [], plain: [] };
try {
  for (let i = 1; i <= RUNS; i++) {
    for (const [name, open] of [
      ['throughline', openThroughline],
      ['plain', openPlain],
    ]) {
      const run = await measure(open);
      runs[name].push(run);
      console.log(
        `run ${i}, ${name}: ${whole(run.eventsPerSecond)} events/s (load generator ${percent(run.loadCpu)}, server ${percent(run.serverCpu)}, others ${percent(run.others)} of a core), p50 ${ms(run.p50)}, p99 ${ms(run.p99)}, level after ${ms(run.levelMs)}${run.all === undefined ? '' : `, XRANGE on room logs ${run.all.onLogs} (in all ${run.all.inAll})`}`,
      );
    }
  }
} catch (error) {
  console.error(`The bench failed, nothing was written: ${error.message}`);
  process.exit(1);
}
loads.push(loadavg()[0]);
const text = report(runs, {
  seconds: (Date.now() - began) / 1000,
  redisVersion: await versionOf('redis-server'),
  loads,
});
writeFileSync(join(ROOT, 'bench/RESULTS.md'), text);
console.log(`\n${text}`);
process.exit(0);
