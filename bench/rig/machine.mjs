// What the machine says about processes: CPU, memory, limits, and what else went on.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const JIFFY_MS = 10;

/** A process and all its descendants. */
export function treeOf(pid) {
  const pids = [pid];
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
      for (const child of text === '' ? [] : text.split(' ')) pids.push(...treeOf(Number(child)));
    }
  } catch {}
  return pids;
}

/** Milliseconds that processes have run so far; 0 where /proc isn't there. */
export function cpuMs(pids) {
  let sum = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
      // With the time of children that have ended: a Redis that rewrites its file forks one.
      const ticks = fields.slice(11, 15).reduce((all, field) => all + Number(field), 0);
      sum += ticks * JIFFY_MS;
    } catch {}
  }
  return sum;
}

/** What all cores have done so far for processes, and what the host withheld from them (steal), without what network interrupts took; 0 where /proc isn't there. */
export function machineCpuMs() {
  try {
    const [, user, nice, system, , , irq, , steal] = readFileSync('/proc/stat', 'utf8')
      .split('\n', 1)[0]
      .split(/ +/)
      .map(Number);
    return (user + nice + system + irq + steal) * JIFFY_MS;
  } catch {
    return 0;
  }
}

/** Resident memory of processes. */
export function residentKb(pids) {
  let sum = 0;
  for (const pid of pids) {
    try {
      sum += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {}
  }
  return sum;
}

/** Memory of processes, each page shared out among all that have it. */
export function proportionalKb(pids) {
  let sum = 0;
  for (const pid of pids) {
    try {
      sum += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {}
  }
  return sum;
}

/** Connections that the kernel dropped on this machine because a backlog was full. */
export function listenDrops() {
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

/** How many files a process may have open: each reader is one, on both ends. */
export function fileLimit() {
  try {
    return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))[1]);
  } catch {
    return 4096;
  }
}

/** The first line that a program says of its version. */
export function versionOf(program, flag = '--version') {
  const { stdout, stderr } = spawnSync(program, [flag], { encoding: 'utf8' });
  return `${stdout ?? ''}${stderr ?? ''}`.trim().split('\n')[0].split(' sha=')[0] || '?';
}

/** The version of a Debian package. */
export function debianVersion(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', '\u0024{Version}', name], { encoding: 'utf8' });
  return stdout || 'of unknown version';
}

/** Whether `dist/` was built since anything in `src/` was changed. */
export function isBuilt(root) {
  const changedAt = (path) => statSync(path).mtimeMs;
  try {
    const builtAt = changedAt(join(root, 'dist/main.js'));
    const sources = readdirSync(join(root, 'src'), { recursive: true });
    return sources.every((name) => changedAt(join(root, 'src', name)) <= builtAt);
  } catch {
    return false;
  }
}

/** The commit, and whether the tree differs from it. */
export function commitAt(cwd) {
  const git = (...args) => spawnSync('git', args, { cwd, encoding: 'utf8' }).stdout?.trim() ?? '';
  const id = git('rev-parse', '--short=12', 'HEAD');
  const changed = git('status', '--porcelain', '--', 'src', 'package.json');
  return id === '' ? 'unknown' : `${id}${changed === '' ? '' : ' with changes that aren’t committed'}`;
}
