import type { RequestHandler } from 'express';
import type { SiteName } from '../chat/sites.ts';
import type { Counts } from '../delivery/counts.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { ApiKeys } from '../log/api-keys.ts';
import type { Appender } from '../log/append.ts';
import type { DoctorCounts } from '../log/doctor-counts.ts';
import type { KnownUsers } from '../log/known-users.ts';
import type { Leases } from '../log/leases.ts';
import type { Log } from '../log/logger.ts';
import type { Names } from '../log/names.ts';
import type { Pace } from '../log/pace.ts';
import type { Presence } from '../log/presence.ts';
import type { LogReader } from '../log/read.ts';
import type { RoomBook } from '../log/room-book.ts';
import type { SiteBook } from '../log/site-book.ts';
import type { Authority } from './authority.ts';
import type { ProbePlaces } from './doctor-places.ts';
import type { OpenConnections } from './open-connections.ts';
import type { Bearers } from './session-authority.ts';
import type { SiteWatch } from './site-watch.ts';
import type { JwtVerifier } from './verify-jwt.ts';

/** What is kept and told of a site, together with the other sites that lie in the same shard. */
export interface Shard {
  readonly appender: Appender;
  readonly history: LogReader;
  readonly rooms: RoomBook;
  readonly names: Names;
  readonly knownUsers: KnownUsers;
  readonly presence: Presence;
  readonly delivery: Delivery;
}

/** What the routes work with. */
export interface Service {
  readonly config: EdgeConfig;
  readonly log: Log;
  readonly sites: SiteBook;
  /** Those of the server, where that is our own. */
  readonly connections: OpenConnections | undefined;
  readonly apiKeys: ApiKeys;
  /** Of what an API key asks. */
  readonly apiKeyPace: Pace;
  /** What the site's requests work with; also where there is no such site. */
  shardOf(site: SiteName): Shard;
  readonly leases: Leases;
  /** Of making rooms; posts are counted by the script that appends them. */
  readonly pace: Pace;
  /** Of comings and goings. */
  readonly presencePace: Pace;
  /** What all shards of this process have done. */
  readonly counts: Counts;
  readonly authority: Authority;
  /** Undefined where a host application's own log-in is used. */
  readonly bearers: Bearers | undefined;
  readonly jwts: JwtVerifier;
  readonly siteWatch: SiteWatch;
  /** The doctor's: places for its probes, and counts of what it found. */
  readonly probes: ProbePlaces;
  readonly doctorCounts: DoctorCounts;
  /** express-session, for logging in at the site that the request names; undefined where a host application's own log-in is used. */
  readonly logInSession: RequestHandler | undefined;
  /** Whether Redis answers and every tail reads. */
  isReady(): Promise<boolean>;
}

/** The settings that the edge needs. */
export interface EdgeConfig {
  readonly basePath: string;
  readonly websocket: string;
  readonly heartbeatMs: number;
  readonly pollWaitMs: number;
  readonly confirmMs: number;
  readonly leaseMs: number;
  readonly streamMaxAgeMs: number;
  readonly stallMs: number;
  readonly byeSpreadMs: number;
  readonly publicUrl: string | undefined;
  readonly allowedOrigins: readonly string[];
  /** For what passes no application's middleware. */
  readonly trustProxy: number | string | undefined;
}
