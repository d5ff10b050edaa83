// What metrics cost that are scraped: the same service without them and with them, in pairs, at its busiest.
import { median } from '../rig/measuring.mjs';
import { freePort } from '../rig/processes.mjs';

/** As often as anybody scrapes. */
const SCRAPE_MS = 1000;
const CONNECTIONS = 256;
/** The chance at most of so many pairs below 1 if metrics cost nothing. */
const SIGNIFICANCE = 0.05;
/** And no less in the median, however few they are. */
const LEAST = 0.9;

export const row = 12;
export const title = 'what metrics cost';

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  const store = measuring.stores[0];
  const rooms = measuring.pick(1000, 40);
  const people = measuring.pick(2000, 500);
  const timing = { warmMs: measuring.pick(2500, 500), ms: measuring.pick(4000, 1000) };
  const pairs = measuring.pick(9, 5);
  const ratios = { posts: [], events: [] };
  let scrapes = 0;
  const measure = async (metricsPort) => {
    measuring.say(metricsPort === undefined ? 'without:' : 'with:');
    return await measuring.one(row, 'throughline', { store, people, rooms, metricsPort }, async (side) => {
      const scraping = metricsPort === undefined ? undefined : scrape(metricsPort);
      try {
        const { postsPerSecond } = await side.ask('postOnly', { ...timing, connections: CONNECTIONS });
        await side.ask('leave');
        await side.ask('open', { readers: rooms });
        const { eventsPerSecond } = await side.ask('saturate', { ...timing, window: CONNECTIONS });
        return { postsPerSecond, eventsPerSecond };
      } finally {
        scrapes += (await scraping?.stop()) ?? 0;
      }
    });
  };
  for (let pair = 0; pair < pairs; pair++) {
    const found = {};
    const both = ['without', 'with'];
    for (const which of pair % 2 === 0 ? both : both.reverse())
      found[which] = await measure(which === 'with' ? await freePort() : undefined);
    ratios.posts.push(found.with.postsPerSecond / found.without.postsPerSecond);
    ratios.events.push(found.with.eventsPerSecond / found.without.eventsPerSecond);
  }
  const seen = pairsThatShow(pairs);
  for (const [what, all] of Object.entries(ratios)) {
    const ratio = median(all);
    const below = all.filter((ratio) => ratio < 1).length;
    measuring.state({
      row,
      store,
      label: `${what}/s with metrics scraped each second (${scrapes} times in all), of those without: median of ${pairs} pairs, ${below} of them below 1`,
      format: (value) => `${value.toFixed(3)} × (${all.map((one) => one.toFixed(2)).join(', ')})`,
      ours: ratio,
      limit: `fewer than ${seen} pairs below 1, ≥ ${LEAST} ×`,
      isMet: below < seen && ratio >= LEAST,
    });
  }
}

/**
 * How many of so many pairs must lie below 1 to show a cost: single pairs of the very same differ by more than what is looked
 * for. The sign test, one-sided: W. J. Conover, Practical Nonparametric Statistics, 3rd edition, 3.4.
 */
function pairsThatShow(pairs) {
  let chance = 0;
  let ways = 1;
  for (let below = pairs; ; below--) {
    chance += ways / 2 ** pairs;
    if (chance > SIGNIFICANCE) return below + 1;
    ways = (ways * below) / (pairs - below + 1);
  }
}

/** Asks again and again; `stop` answers how often it was told. A scrape that fails ends the row. */
function scrape(port) {
  let count = 0;
  let failure;
  const timer = setInterval(async () => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`, {
        signal: AbortSignal.timeout(5 * SCRAPE_MS),
      });
      const text = await response.text();
      if (!text.includes('\nthroughline_')) throw new Error(`a scrape answered ${response.status}`);
      count++;
    } catch (error) {
      failure ??= error;
    }
  }, SCRAPE_MS);
  return {
    async stop() {
      clearInterval(timer);
      if (failure !== undefined) throw failure;
      if (count === 0) throw new Error('nothing was scraped');
      return count;
    },
  };
}
