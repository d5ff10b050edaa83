import { type Aggregator, Counter, Gauge, type Registry } from 'prom-client';

/** One value for each value of a label; those of a closed set only. */
type Labelled = Readonly<Record<string, number | undefined>>;

/** How one number is made of those that several workers have. */
export type Together = Extract<Aggregator, 'sum' | 'min' | 'max'>;

/** Makes metrics that are read where their numbers are kept, and only when somebody scrapes. */
export class Collectors {
  readonly registry: Registry;

  constructor(registry: Registry) {
    this.registry = registry;
  }

  /** A count that only grows. Undefined: not known now, so nothing is said. */
  counter(name: string, help: string, read: () => number | undefined, together: Together = 'sum'): void {
    this.#counter(name, help, [], together, (say) => say({}, read()));
  }

  counterBy(
    name: string,
    help: string,
    label: string,
    read: () => Labelled,
    together: Together = 'sum',
  ): void {
    this.#counter(name, help, [label], together, (say) => {
      for (const [value, count] of Object.entries(read())) say({ [label]: value }, count);
    });
  }

  /** A count by two labels: the outer record's keys, and the inner ones'. */
  counterByBoth(
    name: string,
    help: string,
    [outer, inner]: [string, string],
    read: () => Readonly<Record<string, Labelled>>,
    together: Together = 'sum',
  ): void {
    this.#counter(name, help, [outer, inner], together, (say) => {
      for (const [first, counts] of Object.entries(read()))
        for (const [second, count] of Object.entries(counts)) say({ [outer]: first, [inner]: second }, count);
    });
  }

  /** A number that comes and goes. Undefined: not known now, so nothing is said. */
  gauge(name: string, help: string, read: () => number | undefined, together: Together = 'sum'): void {
    this.#gauge(name, help, [], together, (say) => say({}, read()));
  }

  gaugeBy(name: string, help: string, label: string, read: () => Labelled): void {
    this.#gauge(name, help, [label], 'sum', (say) => {
      for (const [value, count] of Object.entries(read())) say({ [label]: value }, count);
    });
  }

  #counter(name: string, help: string, labelNames: string[], aggregator: Together, tell: Tell): void {
    new Counter({
      name,
      help,
      labelNames,
      aggregator,
      registers: [this.registry],
      collect() {
        // The library resets an unlabelled counter to 0, which would be said where nothing is known.
        this.reset();
        if (labelNames.length === 0) this.remove();
        tell((labels, count) => count !== undefined && this.inc(labels, count));
      },
    });
  }

  #gauge(name: string, help: string, labelNames: string[], aggregator: Together, tell: Tell): void {
    new Gauge({
      name,
      help,
      labelNames,
      aggregator,
      registers: [this.registry],
      collect() {
        this.reset();
        if (labelNames.length === 0) this.remove();
        tell((labels, value) => value !== undefined && this.set(labels, value));
      },
    });
  }
}

type Tell = (say: (labels: Record<string, string>, value: number | undefined) => void) => void;
