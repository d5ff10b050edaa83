// The table of a run, and everything that one has to know to judge it.
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { startCommand } from '../sides/throughline.mjs';
import { debianVersion, fileLimit, versionOf } from './machine.mjs';
import { canPin, ROOT } from './processes.mjs';

const verdict = (isMet) => (isMet ? 'met' : '**not met**');

function isReached({ better, ours, theirs, isLeast }, target) {
  const ratio = ours / theirs;
  return !isLeast.ours && (better === 'more' ? ratio >= target : ratio <= target);
}

function lineOf({ row, store, label, format, better, ours, peer, theirs, isLeast, must, aim, limit, isMet }) {
  if (peer === undefined) {
    const judged = limit === undefined ? '–' : `${limit}: ${verdict(isMet)}`;
    return `| ${row} | ${label} | ${store} | ${format(ours)} | – | – | – | ${judged} | – |`;
  }
  const shown = (value, isBound) => `${isBound ? '> ' : ''}${format(value)}`;
  if (ours === undefined)
    return `| ${row} | ${label} | ${store} | – | ${peer} | ${shown(theirs, isLeast.theirs)} | – | – | – |`;
  const ratio = ours / theirs;
  const sign = better === 'more' ? '≥' : '≤';
  const judge = (target) =>
    target === undefined
      ? '–'
      : `${sign} ${target} ×: ${verdict(isReached({ better, ours, theirs, isLeast }, target))}`;
  const bound = isLeast.theirs === isLeast.ours ? '' : isLeast.theirs ? '< ' : '> ';
  const cells = [
    row,
    label,
    store,
    shown(ours, isLeast.ours),
    peer,
    shown(theirs, isLeast.theirs),
    `${bound}${ratio.toFixed(ratio < 0.1 ? 3 : 2)} ×`,
  ];
  return `| ${cells.join(' | ')} | ${judge(must)} | ${judge(aim)} |`;
}

function isJudged({ ours, peer, must, limit }) {
  return ours !== undefined && (peer === undefined ? limit : must) !== undefined;
}

/** What a figure that misses its must is called in the first sentence. */
function missedOf({ row, store, label, better, ours, theirs, peer, must, isMet, isLeast }) {
  if (peer === undefined) return isMet ? [] : [`${row}, ${label}, ${store}`];
  if (isReached({ better, ours, theirs, isLeast }, must)) return [];
  return [`${row}, ${label}, against ${peer}, ${store}: ${(ours / theirs).toFixed(2)} ×, must ${must}`];
}

const packageVersion = (folder, name) => {
  try {
    return JSON.parse(readFileSync(join(ROOT, folder, 'node_modules', name, 'package.json'), 'utf8')).version;
  } catch {
    return 'not installed';
  }
};

/** The whole of RESULTS.md. */
export function report(measuring, { command, commit, seconds, loads, plots }) {
  const table = [
    '| row | figure | Redis | Throughline | against | its figure | ratio | must | aim |',
    '| --: | --- | --- | --: | --- | --: | --: | --- | --- |',
    ...measuring.figures.map(lineOf),
  ];
  const judged = measuring.figures.filter(isJudged);
  const missed = judged.flatMap(missedOf);
  const notes = measuring.notes.map((note) => `- ${note}`);
  return `# Results of \`npm run bench\`

${judged.length - missed.length} of ${judged.length} musts and limits were met${missed.length > 0 ? `; **not met:** ${missed.join('; ')}` : ''}. (A *must* is what the project set out to reach, an *aim* what it would like to; rows are those of \`bench/rows/\`.)

${table.join('\n')}

${plots.map(({ file, alt }) => `![${alt}](${file})\n\n`).join('')}${notes.length > 0 ? notes.join('\n') : '- Nothing disturbed the run: others took less than 10 % of a core, the load generator less than 95 % of its own.'}

Only the ratios count: the sides were measured one after the other, by the same load generator, in one run.

- ${new Date().toISOString()}, \`${command}\`, commit ${commit}; ${Math.round(seconds)} s in all; load average ${loads.map((load) => load.toFixed(2)).join(' before, ')} after.
- Machine: ${cpus().length} cores, ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}; ${fileLimit()} open files a process.
- Node ${process.version}; ${versionOf('redis-server')}; ${versionOf('nginx', '-v')} with nchan ${debianVersion('libnginx-mod-nchan')}; Socket.IO ${packageVersion('bench/peers', 'socket.io')}, its Redis Streams adapter ${packageVersion('bench/peers', '@socket.io/redis-streams-adapter')}, redis ${packageVersion('bench/peers', 'redis')}; Express ${packageVersion('.', 'express')}.
- ${canPin ? 'Pinned with taskset: each server, and its Redis with it, on core 0; the load generator on core 1.' : 'Not pinned: no taskset, or only one core.'}
- Redis: for each side and measurement one of its own on a loopback port; \`AOF, fsync always\` is what the embedded one has (appendonly yes, appendfsync always), \`no AOF\` keeps everything in memory.
- Throughline: \`${startCommand()}\`, as \`npm start\` runs it, default settings but for HOST, PORT, REDIS_URL, WORKERS (in 10), METRICS_PORT (in 12) and DRAIN_MS; its log goes to a file. Every reader has a session of its own; posts go through all sessions in turn, so the pace that is allowed each user is kept. The peers know no sessions.
- nginx + nchan: one worker, EventSource or long-poll subscribers, \`nchan_redis_storage_mode distributed\`, 1,000 messages kept a channel. Socket.IO: WebSocket transport, or polling in row 7; a post is an emit with an acknowledgement, given once Redis has the entry; connection state recovery in row 4 only. Plain Express: XADD, a tail, and a loop of \`res.write()\` (\`bench/plain-express.mjs\`). Bare: what Node reaches at best on this road, without sessions and checks; who resumes or polls is told from memory (\`bench/bare-http.mjs\`). With sessions and proof (row 4): it reads a signed cookie and once a session from Redis, sends our headers and a \`hello\`, and a heartbeat after half a second (\`bench/bare-sessions.mjs\`). What their messages consist of is as large as Throughline's.
- 1, 2, 7: a further message is posted whenever fewer than the window haven't reached every reader of their room (2: 256 in all rooms together). With 200 messages/s offered, for 2 s, a message's time runs from the moment that it was due; \`> 10 s\`: so many had not arrived 10 s after the last one that the percentile is above that. 3: both run all the while and are measured in pairs, in turn, from a second after the last reader came.
- 4: from the first connect to the last reader's last message; readers come as fast as they are answered, at most 400 unanswered, so that no listening backlog overflows. XRANGE on room logs, and sessions that are read, are counted in Redis' SLOWLOG, set to keep every command. The further storms are of the same readers: half a minute afterwards, to a process that has had a storm before; and once the server (nginx, or the service) has been started anew over the same Redis, so that it knows nobody.
- 5: growth of the server's resident memory (with its workers, without Redis), over a fresh process through which some readers had come and gone, or over the same without readers at the end, whichever is less; each figure taken after 75 s of quiet, in which V8 gives back what it doesn’t need. Between before and after: 100 messages to all of them. Comings and goings begin with a full window. In less than an hour the heap (with what hangs on it outside) is judged, which the inspector has V8 collect at the end of each quarter; resident memory goes up and down by when V8 collects by itself, so that it is judged over an hour, in which nobody has it collect.
- 9: a Redis alone, on core 0; on core 1 the service's own appender (512 appends under way over 8 connections, each with a clientId) and tails, each on a connection of its own: the first is the service's and checks that each entry follows the one before it, the others ask Redis the same and read all of it, counting. Whichever was at 90 % of its core was the limit. Memory by INFO memory, its clients' buffers left out, before and after; and again as the parts are deleted.
- 10: all workers, their primary and Redis on core 0, so that figures are for each CPU second of the workers and their primary, without Redis. Shared pages counted once: Pss.
- 11: everybody confirms once, all first ones before any further one. First ones renew the session too, further ones within 30 s don’t; those half a minute later renew it again, while it is still known.
- 12: in pairs, each going first in turn; with them, \`GET /metrics\` on a port of its own is asked each second, by the bench.
- No message was lost or doubled: every reader was counted (by a marker byte in each text), 20 or more of each run were read in full, in 4 each one. A run with a message too few or too many is an error, not a figure. (Where not all had arrived in time only what had was checked.)
`;
}
