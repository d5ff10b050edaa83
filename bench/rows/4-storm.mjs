// All readers were away for 100 messages and come back at once, each with its own session; each is read in full. Then again
// later, and to a server that was started anew.
import { setTimeout as pause } from 'node:timers/promises';
import { ms, plain, whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const BEHIND = 100;
/** Longer than our client waits to confirm; shorter, with all that comes before, than sessions are kept. */
const LATER_MS = 31_000;

/** Those that the must is about, so that the others cost no more time; the bare ones would forget their messages. */
const WITH_LATER = ['throughline', 'nchan'];

export const row = 4;
export const title = 'a storm of resumes';

export async function run(measuring) {
  const readers = measuring.pick(5000, 200);
  for (const store of measuring.stores) {
    const sides = measuring.among(
      'throughline',
      'nchan',
      'plain',
      ...YARDSTICKS[store],
      ...(store === 'memory' ? ['bare-sessions'] : []),
      ...(measuring.isStormOfAll ? ['socket.io'] : []),
    );
    /** Of all runs: one read too many isn't undone by two runs without. */
    const counts = [];
    const found = await measuring.inTurn(
      row,
      store,
      sides,
      { people: readers, hasRecovery: true },
      async (side) => {
        await side.ask('open', { readers });
        await side.ask('saturate', { warmMs: 300, ms: measuring.pick(1000, 300), window: 16 });
        const storm = async (...before) => {
          const away = await side.ask('fallBehind', { behind: BEHIND });
          for (const step of before) await step();
          const figures = await side.redis.countReads(() => side.ask('comeBack', away));
          if (figures.checked !== readers)
            throw new Error(`${figures.checked} readers of ${readers} were checked`);
          return figures;
        };
        const { levelMs, checked, logReads, xranges, loadCpu, serverCpu } = await storm();
        const first = { levelMs, checked, logReads, xranges, loadCpu, serverCpu };
        if (!WITH_LATER.includes(side.name)) return first;
        await pause(measuring.pick(LATER_MS, 0));
        const later = await storm();
        const anew = await storm(side.restart);
        if (side.name === 'throughline') {
          if (anew.sessionReads < readers)
            throw new Error(`a process that knew nobody read only ${anew.sessionReads} sessions`);
          counts.push({ logReads, later, anew });
        }
        return { ...first, laterMs: later.levelMs, anewMs: anew.levelMs, anewSessions: anew.sessionReads };
      },
    );
    const compare = (label, key, targets) => {
      const values = Object.entries(found).map(([name, all]) => [name, all[key]]);
      measuring.compare({
        row,
        store,
        label,
        format: ms,
        better: 'less',
        values: Object.fromEntries(values.filter(([, value]) => value !== undefined)),
        targets,
      });
    };
    compare(`${whole(readers)} resume at once, ${BEHIND} messages each: until the last is level`, 'levelMs', {
      nchan: { must: 0.5, aim: 0.3 },
    });
    const ours = found.throughline;
    if (ours === undefined) continue;
    const state = (label, count, isLimited) =>
      measuring.state({
        row,
        store,
        label,
        format: plain,
        ours: count,
        ...(isLimited && { limit: '0', isMet: count === 0 }),
      });
    const most = (countOf) => Math.max(...counts.map(countOf));
    state(
      'meanwhile, XRANGE on room logs',
      most((run) => run.logReads),
      true,
    );
    state('XRANGE in all, the tail’s checks included', ours.xranges, false);
    compare('the same readers, half a minute later', 'laterMs');
    state(
      'sessions read, half a minute later',
      most(({ later }) => later.sessionReads),
      true,
    );
    compare('the same readers, to a server that was started anew', 'anewMs');
    state('sessions read, after the start', ours.anewSessions, false);
    state(
      'XRANGE on room logs, half a minute later and after the start',
      most(({ later, anew }) => later.logReads + anew.logReads),
      true,
    );
  }
}
