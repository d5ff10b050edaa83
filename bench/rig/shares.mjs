// Which share of a core who took while a phase of the load was measured.
import { cpuMs, machineCpuMs } from './machine.mjs';

/**
 * Runs a phase of the load; where it measures, adds the shares of a core that groups of processes took (`redisCpu` for the
 * group `redis`), and that `others` did. `groupsOf` gives the groups' process ids, which may change.
 */
export async function askWithShares(load, groupsOf, phase, options = {}) {
  const at = {};
  const figures = await load.ask(phase, options, (mark) => {
    const groups = groupsOf();
    const ours = new Set([...Object.values(groups).flat(), load.pid, process.pid]);
    at[mark] = { ours: cpuMs(ours), machine: machineCpuMs() };
    for (const [name, pids] of Object.entries(groups)) at[mark][`${name}Cpu`] = cpuMs(pids);
  });
  if (at.end === undefined) return figures;
  const { ours, machine, ...shares } = Object.fromEntries(
    Object.keys(at.end).map((what) => [what, (at.end[what] - at.start[what]) / figures.measuredMs]),
  );
  for (const [name, share] of Object.entries(shares))
    if (share < 0) throw new Error(`the time that ${name} took went back: one of its processes has ended`);
  return { ...figures, ...shares, others: Math.max(0, machine - ours) };
}
