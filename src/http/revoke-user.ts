import type { SiteName } from '../chat/sites.ts';
import type { UserKey } from '../log/keys.ts';
import { whenReachable } from '../log/unreachable.ts';
import { userAddressOf } from './authority.ts';
import type { Service } from './service.ts';

/**
 * Ends everything that a user of a site has open, on every process: sessions and tokens, streams, sockets and polls.
 * Claims made until now (or `atS`, seconds since 1970) are refused from now on; newer ones log the user in again. Answers
 * until when, in seconds since 1970. Safe to repeat. Refusals: `unavailable`, `unsure`.
 */
export async function revokeUser(
  { shardOf }: Pick<Service, 'shardOf'>,
  site: SiteName,
  userId: string,
  atS?: number,
): Promise<number> {
  const { knownUsers, appender, presence } = shardOf(site);
  const userKey: UserKey = `${site}/${userId}`;
  const revokedAt = await whenReachable(knownUsers.revoke(userKey, atS));
  await appender.announce(userAddressOf(userKey), 'revoke');
  await whenReachable(presence.drop(userKey));
  return revokedAt;
}
