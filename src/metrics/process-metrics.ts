import {
  constants,
  monitorEventLoopDelay,
  type PerformanceEntry,
  PerformanceObserver,
  performance,
} from 'node:perf_hooks';
import { cpuUsage, memoryUsage } from 'node:process';
import { Histogram } from 'prom-client';
import type { Collectors } from './collectors.ts';

/** [spec] Node, Performance measurement APIs: what `detail` is in entries of type `gc`. */
type CollectionEntry = PerformanceEntry & { readonly detail?: { readonly kind?: number } };

const LAG_RESOLUTION_MS = 20;
const GC_BUCKETS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];
const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/**
 * What the process itself is like, under the names that the library's own default metrics have. Those can't be had:
 * their timer and their observer go on after the service is closed, for as long as the process lives, and pile up with
 * every service that is opened in it. Answers what stops these.
 */
export function addProcessMetrics(collectors: Collectors): () => void {
  collectors.counter('process_cpu_seconds_total', 'CPU time used, in seconds.', () => {
    const { user, system } = cpuUsage();
    return (user + system) / 1e6;
  });
  collectors.gauge(
    'process_start_time_seconds',
    'When the process started, in seconds since 1970.',
    () => performance.timeOrigin / 1000,
    'min',
  );
  collectors.gauge('process_resident_memory_bytes', 'Memory that the process takes.', () =>
    memoryUsage.rss(),
  );
  collectors.gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', () => memoryUsage().heapUsed);
  collectors.gauge(
    'nodejs_external_memory_bytes',
    'Memory outside the heap that belongs to objects in it, such as Buffers.',
    () => memoryUsage().external,
  );
  const stopLag = addEventLoopLag(collectors);
  const stopGc = addGarbageCollections(collectors);
  return () => {
    stopLag();
    stopGc();
  };
}

function addEventLoopLag(collectors: Collectors): () => void {
  const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  delay.enable();
  let lag = { p50: 0, p99: 0, max: 0 };
  // Read once for all three: each scrape tells of the time since the last one.
  collectors.gauge(
    'nodejs_eventloop_lag_p50_seconds',
    'Median lag of the event loop since the last scrape.',
    () => {
      // The histogram has the whole interval between two ticks of its timer; what is beyond its resolution is lag.
      const secondsOf = (ns: number) => Math.max(0, ns / 1e9 - LAG_RESOLUTION_MS / 1000);
      if (delay.count > 0)
        lag = {
          p50: secondsOf(delay.percentile(50)),
          p99: secondsOf(delay.percentile(99)),
          max: secondsOf(delay.max),
        };
      delay.reset();
      return lag.p50;
    },
    'max',
  );
  collectors.gauge(
    'nodejs_eventloop_lag_p99_seconds',
    'Lag of the event loop that 99 % since the last scrape stayed below.',
    () => lag.p99,
    'max',
  );
  collectors.gauge(
    'nodejs_eventloop_lag_max_seconds',
    'Greatest lag of the event loop since the last scrape.',
    () => lag.max,
    'max',
  );
  return () => void delay.disable();
}

function addGarbageCollections({ registry }: Collectors): () => void {
  const durations = new Histogram({
    name: 'nodejs_gc_duration_seconds',
    help: 'Garbage collections, by kind.',
    labelNames: ['kind'],
    buckets: GC_BUCKETS_S,
    registers: [registry],
  });
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as CollectionEntry[]) {
      const kind = GC_KINDS[entry.detail?.kind ?? -1];
      if (kind !== undefined) durations.observe({ kind }, entry.duration / 1000);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  return () => observer.disconnect();
}
