// What rows share: sides in turn, medians, figures for the table, and what to say about a run that was disturbed.
import { listenDrops } from './machine.mjs';
import { STORES } from './redis.mjs';
import { NAMES, openSide } from './side.mjs';

/** Above this share of a core taken by others, or this much of one by the load generator, a figure is marked. */
const NOISE = 0.1;
const SATURATED = 0.95;

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

export class Measuring {
  /** Lines of the table. */
  figures = [];
  notes = [];
  /** Curves for the plots: `{title, xLabel, yLabel, isLog, lines: [{name, points: [[x, y]]}]}`. */
  plots = [];

  constructor({ isQuick, runs, sides, stores, soakSeconds, isStormOfAll }) {
    this.isQuick = isQuick;
    this.runs = runs;
    this.sides = sides;
    this.stores = stores;
    this.soakSeconds = soakSeconds;
    this.isStormOfAll = isStormOfAll;
  }

  /** The number that a full run takes, or the one of `--quick`. */
  pick(full, quick) {
    return this.isQuick ? quick : full;
  }

  say(text) {
    console.log(`  ${text}`);
  }

  note(text) {
    if (!this.notes.includes(text)) this.notes.push(text);
    this.say(text);
  }

  /** Which of some peers are to be measured. */
  among(...names) {
    return names.filter((name) => this.sides.includes(name));
  }

  /**
   * Opens each side afresh, in turn, as often as there are runs, and measures it; returns each side's figures, which are
   * medians. A phase's figures are watched for noise.
   */
  async inTurn(row, store, sides, options, measure) {
    const all = Object.fromEntries(sides.map((side) => [side, []]));
    for (let run = 0; run < this.runs; run++) {
      for (const name of run % 2 === 0 ? sides : [...sides].reverse()) {
        all[name].push(await this.one(row, name, { store, ...options }, measure));
      }
    }
    return Object.fromEntries(
      Object.entries(all).map(([name, runs]) => [
        name,
        Object.fromEntries(Object.keys(runs[0]).map((key) => [key, median(runs.map((run) => run[key]))])),
      ]),
    );
  }

  /** Opens a side, measures, closes it. */
  async one(row, name, options, measure) {
    const drops = listenDrops();
    const side = await openSide(name, options);
    try {
      const figures = await measure(this.watch(row, side));
      this.say(
        `${NAMES[name]} (${STORES[options.store].label}): ${Object.entries(figures)
          .map(([key, value]) => `${key} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`)
          .join(', ')}`,
      );
      const dropped = listenDrops() - drops;
      if (dropped > 0)
        this.note(
          `Row ${row}, ${NAMES[name]}: the kernel dropped ${dropped} connections (tried again after 1 s).`,
        );
      return figures;
    } catch (error) {
      throw new Error(`${NAMES[name]} (${STORES[options.store].label}): ${error.message}`);
    } finally {
      await side.close();
    }
  }

  /** A side that stays open beyond one measurement. The caller closes it. */
  async open(row, name, options) {
    return this.watch(row, await openSide(name, options));
  }

  /** The side, with a note wherever a phase of it was disturbed. */
  watch(row, side) {
    return {
      ...side,
      ask: async (phase, options) => {
        const figures = await side.ask(phase, options);
        const what = `Row ${row}, ${NAMES[side.name] ?? side.name}, ${phase}`;
        if (figures.others > NOISE)
          this.note(`${what}: noisy, others took ${Math.round(figures.others * 100)} % of a core.`);
        if (figures.loadCpu > SATURATED)
          this.note(
            `${what}: the load generator was at ${Math.round(figures.loadCpu * 100)} % of its core, so this is a lower bound.`,
          );
        return figures;
      },
    };
  }

  /**
   * A line for each peer that the figure is compared with. `better` is `more` or `less`; `targets` name the peer with `must` and
   * `aim`, limits of the ratio to it; `least` marks figures of which only a lower bound is known.
   */
  compare({ row, store, label, format, better, values, targets = {}, least = {} }) {
    for (const peer of Object.keys(values).filter((name) => name !== 'throughline')) {
      this.figures.push({
        row,
        store: STORES[store].label,
        label,
        format,
        better,
        ours: values.throughline,
        peer: NAMES[peer],
        theirs: values[peer],
        isLeast: { ours: least.throughline === true, theirs: least[peer] === true },
        ...targets[peer],
      });
    }
    if (Object.keys(values).length === 1) this.state({ row, store, label, format, ours: values.throughline });
  }

  /** A figure of ours alone, with a verdict if there is a limit. */
  state({ row, store, label, format, ours, limit, isMet }) {
    this.figures.push({ row, store: STORES[store]?.label ?? '–', label, format, ours, limit, isMet });
  }
}
