import { AggregatorRegistry, Registry } from 'prom-client';

/** All metrics of one process as they were at one moment; can be sent as JSON. */
export type Samples = readonly Sampled[];

/** What the library makes of a metric, as far as anything but the library reads it. */
interface Sampled {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: string;
}

/** A registry's metrics as they are now. */
export async function samplesOf(registry: Registry): Promise<Samples> {
  // The library writes types as words, and declares them as numbers.
  return (await registry.getMetricsAsJSON()) as unknown as Samples;
}

/** What Prometheus is told that the text is. */
export const EXPOSITION_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** What only grows, and is of one process: what it did stays done when it has ended. */
export function countsIn(samples: Samples): Samples {
  return additiveIn(samples).filter(({ type }) => type !== 'gauge');
}

/** What adds up over processes: not the greatest or least, which one that is about to end would spoil. */
export function additiveIn(samples: Samples): Samples {
  return samples.filter(({ aggregator }) => aggregator === 'sum');
}

/** Several processes' as those of one: each metric added up, or the least or the greatest of it, as it says itself. */
export function together(all: readonly Samples[]): Samples {
  // The aggregated registry's metrics carry their values themselves, which the library's types leave out.
  return AggregatorRegistry.aggregate([...all]).getMetricsAsArray() as unknown as Samples;
}

/** Prometheus' text format. */
export function exposition(all: readonly Samples[]): Promise<string> {
  return AggregatorRegistry.aggregate([...all]).metrics();
}
