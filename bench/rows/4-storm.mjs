// All readers were away for 100 messages and come back at once, each with its own session; each is read in full.
import { ms, plain, whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const BEHIND = 100;

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
        const away = await side.ask('fallBehind', { behind: BEHIND });
        const { levelMs, checked, logReads, xranges, loadCpu, serverCpu } = await side.redis.countReads(() =>
          side.ask('comeBack', away),
        );
        if (checked !== readers) throw new Error(`${checked} readers of ${readers} were checked`);
        return { levelMs, checked, logReads, xranges, loadCpu, serverCpu };
      },
    );
    measuring.compare({
      row,
      store,
      label: `${whole(readers)} resume at once, ${BEHIND} messages each: until the last is level`,
      format: ms,
      better: 'less',
      values: Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.levelMs])),
      targets: { nchan: { must: 0.5, aim: 0.3 } },
    });
    if (found.throughline === undefined) continue;
    const { logReads, xranges } = found.throughline;
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
      label: 'XRANGE in all, the tail’s checks included',
      format: plain,
      ours: xranges,
    });
  }
}
