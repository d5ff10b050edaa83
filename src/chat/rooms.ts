import { z } from 'zod';
import { parse } from './parsing.ts';
import { Refusal } from './refusals.ts';
import type { SiteName } from './sites.ts';
import { isSlug, slug } from './slugs.ts';
import { title } from './titles.ts';

declare const brand: unique symbol;

/** A site's own name for a room, as it stands in URLs. */
export type RoomName = string & { readonly [brand]: 'RoomName' };

/** A room among all sites: `<site>/<room>`. */
export type RoomKey = string & { readonly [brand]: 'RoomKey' };

/** The room that is always there. */
export const LOBBY = 'lobby' as RoomName;

/** What everybody may know of a room. `n` counts its durable entries: a client's `n` subtracted is what it hasn't read. */
export interface Room {
  readonly room: RoomName;
  readonly title: string;
  readonly n: number;
  readonly members: number;
  /** Nothing more can be said there. */
  readonly closed?: true;
}

const MAX_ROOMS_A_REQUEST = 50;

const roomName = slug.transform((name) => name as RoomName);

const roomDraft = z.strictObject({
  room: roomName,
  title: title.optional(),
  formToken: z.string().optional(),
  site: z.string().optional(),
  token: z.string().optional(),
});

/** Made once: a schema is compiled when it is first used, which costs more than all else a post does. */
const named = z.object({ room: roomName });

/** Reads the name of a room. Refusal: `invalid_field`. */
export function parseRoomName(name: unknown): RoomName {
  // Nearly all are; for what isn't, the schema says why.
  return isSlug(name) ? (name as RoomName) : parse(named, { room: name }).room;
}

/** Reads `{room, title?}`; the title is the name where none is given. Refusal: `invalid_field`. */
export function parseRoomDraft(body: unknown): { room: RoomName; title: string } {
  const draft = parse(roomDraft, body);
  return { room: draft.room, title: draft.title || draft.room };
}

/** Reads `a,b,c`, each room once. Refusal: `invalid_field`. */
export function parseRoomList(list: string): RoomName[] {
  // Nearly all name one.
  if (isSlug(list)) return [list as RoomName];
  const names = new Set(list.split(',').filter((name) => name !== ''));
  if (names.size === 0)
    throw new Refusal('invalid_field', 'rooms must name at least one room.', { field: 'rooms' });
  if (names.size > MAX_ROOMS_A_REQUEST) {
    throw new Refusal('invalid_field', `rooms must name at most ${MAX_ROOMS_A_REQUEST} rooms.`, {
      field: 'rooms',
    });
  }
  return Array.from(names, parseRoomName);
}

/** A room's key among all sites. */
export function roomKey(site: SiteName, room: RoomName): RoomKey {
  return `${site}/${room}` as RoomKey;
}

/** The site that a room belongs to. */
export function siteOf(key: RoomKey): SiteName {
  return key.slice(0, key.indexOf('/')) as SiteName;
}

/** The name by which its own site knows the room. */
export function roomNameOf(key: RoomKey): RoomName {
  return key.slice(key.indexOf('/') + 1) as RoomName;
}
