// All readers were away for 100 messages and come back at once, each with its own session; each is read in full. Then again
// later, and to a server that was started anew.
import { setTimeout as pause } from 'node:timers/promises';
import { ms, plain, whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const BEHIND = 100;
/** Beyond this nobody is as fresh in mind as those who have just come. */
const LATER_MS = 31_000;

/** Both keep their messages in Redis alone. */
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
      ...(measuring.isStormOfAll ? ['socket.io'] : []),
    );
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
        return { ...first, laterMs: later.levelMs, anewMs: anew.levelMs, anewLogReads: anew.logReads };
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
    const targets = { nchan: { must: 0.5, aim: 0.3 } };
    compare(
      `${whole(readers)} resume at once, ${BEHIND} messages each: until the last is level`,
      'levelMs',
      targets,
    );
    if (found.throughline === undefined) continue;
    compare('the same readers, half a minute later', 'laterMs', targets);
    compare('the same, to a server that was started anew', 'anewMs');
    const { logReads, xranges, anewLogReads } = found.throughline;
    measuring.state({
      row,
      store,
      label: 'meanwhile, XRANGE on room logs',
      format: plain,
      ours: logReads,
      limit: '0',
      isMet: logReads === 0,
    });
    measuring.state({
      row,
      store,
      label: 'XRANGE on room logs, after the start',
      format: plain,
      ours: anewLogReads,
      limit: '0',
      isMet: anewLogReads === 0,
    });
    measuring.state({
      row,
      store,
      label: 'XRANGE in all, the tail’s checks included',
      format: plain,
      ours: xranges,
    });
  }
}
