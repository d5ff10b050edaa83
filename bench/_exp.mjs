import { execSync } from 'node:child_process';
import WebSocket from 'ws';
import { openSide } from './rig/side.mjs';

const [, , row = '1', profile = '1', store = 'memory', sideName = 'throughline'] = process.argv;
const side = await openSide(sideName, {
  store,
  rooms0: 0,
  people: row === '6' ? 2000 : row === '1' ? 5000 : row === '2' ? 5000 : 1000,
  rooms: row === '2' ? 1000 : row === '6' ? 100 : 1,
  isPolling: row === '7',
});
const pid = Number(execSync("pgrep -n -f 'dist/main.js$' || true").toString().trim());
let cdp;
async function startProfile() {
  process.kill(pid, 'SIGUSR1');
  await new Promise((r) => setTimeout(r, 500));
  const list = await (await fetch('http://127.0.0.1:9229/json/list')).json();
  const ws = new WebSocket(list[0].webSocketDebuggerUrl);
  await new Promise((r) => ws.once('open', r));
  let id = 0;
  const waits = new Map();
  ws.on('message', (m) => {
    const d = JSON.parse(m);
    waits.get(d.id)?.(d.result);
  });
  cdp = (method, params = {}) =>
    new Promise((r) => {
      const i = ++id;
      waits.set(i, r);
      ws.send(JSON.stringify({ id: i, method, params }));
    });
  await cdp('Profiler.enable');
  await cdp('Profiler.setSamplingInterval', { interval: 500 });
  await cdp('Profiler.start');
}
async function endProfile() {
  const { profile } = await cdp('Profiler.stop');
  const self = new Map(),
    incl = new Map();
  const byId = new Map(profile.nodes.map((n) => [n.id, n]));
  for (const n of profile.nodes) for (const c of n.children ?? []) byId.get(c).parent = n;
  const key = (n) => {
    const f = n.callFrame;
    return f.functionName + ' ' + f.url.split('/').slice(-3).join('/') + ':' + f.lineNumber;
  };
  let total = 0;
  profile.samples.forEach((s, i) => {
    let n = byId.get(s);
    const d = profile.timeDeltas[i];
    total += d;
    self.set(key(n), (self.get(key(n)) ?? 0) + d);
    const seen = new Set();
    for (; n; n = n.parent) {
      const k = key(n);
      if (!seen.has(k)) {
        seen.add(k);
        incl.set(k, (incl.get(k) ?? 0) + d);
      }
    }
  });
  console.log('--- self');
  for (const [k, v] of [...self].sort((a, b) => b[1] - a[1]).slice(0, 50))
    console.log(((100 * v) / total).toFixed(1).padStart(5) + '%', k);
  console.log('--- incl');
  for (const [k, v] of [...incl].sort((a, b) => b[1] - a[1]).slice(0, 120))
    console.log(((100 * v) / total).toFixed(1).padStart(5) + '%', k);
}
const metrics = async () => {
  if (!process.env.METRICS_PORT) return {};
  const t = await (await fetch(`http://127.0.0.1:${process.env.METRICS_PORT}/metrics`)).text();
  const g = (n) => Number(new RegExp('^' + n + ' (.*)$', 'm').exec(t)?.[1]);
  return { events: g('throughline_events_told_total'), runs: g('throughline_runs_told_total') };
};

import { spawn } from 'node:child_process';

const P = async (fn) => {
  if (profile === '1') await startProfile();
  if (profile === 'perf')
    setTimeout(
      () =>
        spawn('perf', ['record', '-C', '0', '-F', '2000', '-g', '-o', '/tmp/perf.data', 'sleep', '3'], {
          stdio: 'ignore',
        }),
      Number(process.env.PD ?? 2200),
    );
  const m0 = await metrics();
  const r = await fn();
  if (process.env.STATS) {
    const st = await side.redis.client.info('commandstats');
    const n = r.accepted ?? 1;
    for (const l of st.split('\n')) {
      const m = /^cmdstat_(\S+):calls=(\d+),usec=(\d+)/.exec(l);
      if (m && m[2] > n / 50)
        console.log(m[1], (m[2] / n).toFixed(2), 'per post', (m[3] / n).toFixed(1), 'us');
    }
  }
  const m1 = await metrics();
  console.log(JSON.stringify(r), 'frames/run', ((m1.events - m0.events) / (m1.runs - m0.runs)).toFixed(2));
  if (profile === '1') await endProfile();
};
try {
  if (row === '1') {
    await side.ask('open', { readers: 5000 });
    await P(() => side.ask('saturate', { warmMs: 1500, ms: 4000, window: Number(process.env.W ?? 16) }));
  }
  if (row === '2') {
    await side.ask('open', { readers: 5000 });
    await P(() => side.ask('saturate', { warmMs: 3000, ms: 5000, window: 256 }));
  }
  if (row === '6') {
    await P(() =>
      side.ask('postOnly', { warmMs: Number(process.env.WARM ?? 3000), ms: 5000, connections: 256 }),
    );
  }
  if (row === '7') {
    await side.ask('open', { readers: 1000, isPolling: true });
    await P(() => side.ask('saturate', { warmMs: 2000, ms: 4000, window: 16 }));
  }
} finally {
  await side.close();
  process.exit(0);
}
