import { Histogram } from 'prom-client';
import { PROBED_CARRIERS, PROXY_KINDS, VERDICTS } from '../chat/doctor.ts';
import { byCarrier, type Counts } from '../delivery/counts.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { Reader } from '../delivery/reader.ts';
import type { Authority } from '../http/authority.ts';
import type { Appender } from '../log/append.ts';
import type { Keys } from '../log/keys.ts';
import type { Presence } from '../log/presence.ts';
import type { Tail } from '../log/tail.ts';
import type { Vitals } from '../log/vitals.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import type { Collectors } from './collectors.ts';

/** Where the numbers of one shard are kept. */
export interface ShardParts {
  readonly appender: Appender;
  readonly keys: Keys;
  readonly delivery: Delivery;
  readonly tail: Tail;
  readonly presence: Presence;
}

/** Where the numbers are kept. */
export interface ServiceParts {
  readonly shards: readonly ShardParts[];
  /** Of all shards. */
  readonly counts: Counts;
  readonly authority: Authority;
  readonly webhooks: Pick<Webhooks, 'counts'>;
}

/** What Redis was asked for a scrape. */
export interface Asked {
  /** Undefined if it didn't answer. */
  readonly vitals: Vitals | undefined;
  /** The doctor's counts, by field; undefined if they couldn't be read. */
  readonly doctor: Readonly<Record<string, number>> | undefined;
}

const LATENCY_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the service does. `asked` answers what Redis said for the scrape under way. */
export function addServiceMetrics(collectors: Collectors, parts: ServiceParts, asked: () => Asked): void {
  addReaders(collectors, parts);
  addDelivery(collectors, parts);
  addEdge(collectors, parts);
  addJournal(collectors, parts, asked);
  addWebhooks(collectors, parts);
  addDoctor(collectors, asked);
}

function addReaders(collectors: Collectors, { shards, counts }: ServiceParts): void {
  collectors.gaugeBy('throughline_readers', 'Readers now, polls under way among them.', 'carrier', () => {
    const readers = byCarrier(() => 0);
    for (const { carrier } of everyone(shards)) readers[carrier]++;
    return readers;
  });
  collectors.gauge('throughline_slow_readers', 'Readers now whose socket is full.', () => {
    let slow = 0;
    for (const { isSlow } of everyone(shards)) if (isSlow) slow++;
    return slow;
  });
  collectors.counterBy(
    'throughline_readers_begun_total',
    'Readers that began; of polls each one.',
    'carrier',
    () => counts.begun,
  );
  collectors.counterByBoth(
    'throughline_readers_ended_total',
    'Readers that had begun and ended, by code; left: the client went, or its poll was answered.',
    ['carrier', 'code'],
    () => counts.ended,
  );
  collectors.counter(
    'throughline_reader_slowdowns_total',
    'How often a reader’s socket became full.',
    () => counts.slow,
  );
}

function addDelivery(collectors: Collectors, { shards, counts }: ServiceParts): void {
  collectors.counter(
    'throughline_events_told_total',
    'Events told to readers, each reader’s counted.',
    () => counts.events,
  );
  collectors.counter(
    'throughline_runs_told_total',
    'Runs of events told to readers: one write each, or one poll’s answer.',
    () => counts.runs,
  );
  const latency = new Histogram({
    name: 'throughline_delivery_latency_seconds',
    help: 'From the append of a round’s oldest news until a turn of its readers was written to; once a turn.',
    buckets: LATENCY_BUCKETS_S,
    registers: [collectors.registry],
  });
  for (const { delivery } of shards) delivery.toldTurn = (latencyMs) => latency.observe(latencyMs / 1000);
  collectors.counterBy(
    'throughline_catch_ups_total',
    'Readers that came back: told from the window what they had missed, or read for in the log, which it didn’t reach back to.',
    'from',
    () => counts.catchUps,
  );
  collectors.counter(
    'throughline_log_pages_read_total',
    'Pages of room logs read for readers that the window didn’t reach back to.',
    () => counts.logPages,
  );
  collectors.counterBy(
    'throughline_gaps_total',
    'Gaps told to readers, one for each room, by reason.',
    'reason',
    () => counts.gaps,
  );
}

function addEdge(collectors: Collectors, { shards, counts, authority }: ServiceParts): void {
  collectors.counterBy(
    'throughline_posts_total',
    'Posts appended (accepted), and posts recognised as sent before (repeated).',
    'outcome',
    () => counts.posts,
  );
  const took = new Histogram({
    name: 'throughline_append_seconds',
    help: 'How long the calls took by which posts are appended, answered or not, and replicas where posts wait for these.',
    buckets: LATENCY_BUCKETS_S,
    registers: [collectors.registry],
  });
  for (const { appender } of shards) appender.toldPosts = (tookMs) => took.observe(tookMs / 1000);
  collectors.counterBy(
    'throughline_posts_by_total',
    'Posts appended, by who sent them: a user whom a host site vouches for (known), or a guest.',
    'user',
    () => counts.postsBy,
  );
  collectors.counterBy(
    'throughline_log_ins_total',
    'Log-ins: of known users by claims that opened a session or gave a token, and of guests.',
    'user',
    () => counts.logIns,
  );
  collectors.counterBy(
    'throughline_refusals_total',
    'Requests refused, by code.',
    'code',
    () => counts.refusals,
  );
  collectors.counterBy(
    'throughline_session_lookups_total',
    'Sessions asked for, by where they were found: kept in this process, or read from Redis.',
    'from',
    () => ({ memory: authority.sessionCounts?.kept, redis: authority.sessionCounts?.read }),
  );
  collectors.counter('throughline_presence_renewals_total', 'Presence leases renewed in Redis.', () =>
    sum(shards, ({ presence }) => presence.counts.renewals),
  );
  collectors.counter('throughline_presence_sweeps_total', 'Looks for ended presence leases.', () =>
    sum(shards, ({ presence }) => presence.counts.sweeps),
  );
  collectors.counter(
    'throughline_presence_expired_total',
    'People whom this process’ sweeps found gone.',
    () => sum(shards, ({ presence }) => presence.counts.gone),
  );
}

function addJournal(collectors: Collectors, { shards, counts }: ServiceParts, asked: () => Asked): void {
  collectors.gauge(
    'throughline_tail_reading',
    '1 while every journal is read, else 0.',
    () => Number(shards.every(({ tail }) => tail.isReading())),
    'min',
  );
  collectors.gauge(
    'throughline_tail_lag_seconds',
    'How far behind the journal this process is, by Redis’ clock and this machine’s; of the shard that lags most.',
    () => Math.max(...shards.map(({ tail }) => tail.lagMs)) / 1000,
    'max',
  );
  collectors.counterBy(
    'throughline_window_refills_total',
    'How often the window was filled anew, by why.',
    'reason',
    () => counts.refills,
  );
  collectors.gauge('throughline_window_entries', 'Journal entries in memory.', () =>
    sum(shards, ({ delivery }) => delivery.window.size.entries),
  );
  collectors.gauge('throughline_window_bytes', 'About how many bytes they take.', () =>
    sum(shards, ({ delivery }) => delivery.window.size.bytes),
  );
  collectors.gauge(
    'throughline_journal_entries',
    'Entries that the journals in Redis hold.',
    () => asked().vitals?.journalEntries,
    'max',
  );
  collectors.gauge(
    'throughline_redis_up',
    '1 if Redis answered within 1.5 s, else 0.',
    () => Number(asked().vitals !== undefined),
    'min',
  );
  collectors.gauge(
    'throughline_redis_round_trip_seconds',
    'How long Redis took to answer.',
    () => secondsOf(asked().vitals?.roundTripMs),
    'max',
  );
  collectors.gauge(
    'throughline_redis_clock_ahead_seconds',
    'How far Redis’ clock is ahead of this machine’s: by so much the latencies are too small.',
    () => secondsOf(asked().vitals?.clockAheadMs),
    'max',
  );
}

function addWebhooks(collectors: Collectors, { webhooks: { counts } }: ServiceParts): void {
  collectors.counterBy(
    'throughline_webhook_calls_total',
    'Webhook events that were delivered, were retried, or became dead letters.',
    'outcome',
    () => ({ delivered: counts.delivered, retried: counts.retried, dead: counts.dead }),
  );
  collectors.counter(
    'throughline_webhook_dead_letters_dropped_total',
    'Dead letters of webhooks that were thrown away for newer ones.',
    () => counts.dropped,
  );
  collectors.counter(
    'throughline_webhook_trimmed_total',
    'Journal entries that left before a webhook’s receiver had taken them.',
    () => counts.trimmed,
  );
}

/** These are of all processes together: they are counted in Redis. */
function addDoctor(collectors: Collectors, asked: () => Asked): void {
  const count = (field: string) =>
    asked().doctor === undefined ? undefined : (asked().doctor?.[field] ?? 0);
  const countEach = (fields: readonly string[], prefix: string) =>
    Object.fromEntries(fields.map((field) => [field, count(`${prefix}:${field}`)]));
  collectors.counter(
    'throughline_doctor_reports_total',
    'Reports of browsers’ doctors.',
    () => count('reports'),
    'max',
  );
  collectors.counterBy(
    'throughline_doctor_carriers_total',
    'Carriers that they found best.',
    'carrier',
    () => countEach([...PROBED_CARRIERS, 'none'], 'carrier'),
    'max',
  );
  collectors.counterByBoth(
    'throughline_doctor_verdicts_total',
    'What they found of each carrier.',
    ['carrier', 'verdict'],
    () => Object.fromEntries(PROBED_CARRIERS.map((carrier) => [carrier, countEach(VERDICTS, carrier)])),
    'max',
  );
  collectors.counterBy(
    'throughline_doctor_proxies_total',
    'Kinds of proxy that they met.',
    'kind',
    () => countEach(PROXY_KINDS, 'proxy'),
    'max',
  );
}

function* everyone(shards: readonly ShardParts[]): Iterable<Reader> {
  for (const { delivery } of shards) yield* delivery.hub.everyone();
}

function sum(shards: readonly ShardParts[], of: (shard: ShardParts) => number): number {
  return shards.reduce((total, shard) => total + of(shard), 0);
}

function secondsOf(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
