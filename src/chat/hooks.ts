import { z } from 'zod';
import { parse } from './parsing.ts';
import type { SiteName } from './sites.ts';

/** What a host site may be told of, by the kinds of its entries. */
export const HOOK_EVENTS = ['message', 'presence', 'closed'] as const;

export type HookEvent = (typeof HOOK_EVENTS)[number];

/** A URL of a host site that is told what happens there. */
export interface Hook {
  readonly id: string;
  readonly site: SiteName;
  readonly url: string;
  readonly events: readonly HookEvent[];
  /** `whsec_` and base64 of what it is told is signed with. */
  readonly secret: string;
  /** Those that came before it and still sign beside it, so that a receiver can change over without missing a call. */
  readonly retiring: readonly RetiringSecret[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** A secret that another one has taken the place of. */
export interface RetiringSecret {
  readonly secret: string;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** A secret signs for so long after another one has taken its place. */
const RETIRES_WITHIN_MS = 24 * 3_600_000;

/** The webhook with a new secret, `now` in milliseconds since 1970. At once, if the old one isn't safe any more. */
export function rotated(hook: Hook, secret: string, now: number, isAtOnce: boolean): Hook {
  const { secret: former, retiring } = hook;
  const kept = retiring.filter(({ until }) => until > now);
  return {
    ...hook,
    secret,
    retiring: isAtOnce ? [] : [{ secret: former, until: now + RETIRES_WITHIN_MS }, ...kept],
  };
}

/** What a call is signed with, the newest first. */
export function secretsOf({ secret, retiring }: Pick<Hook, 'secret' | 'retiring'>, now: number): string[] {
  return [secret, ...retiring.filter(({ until }) => until > now).map((former) => former.secret)];
}

const hookDraft = z.strictObject({
  url: z
    .string('must be a string')
    .max(2000, 'must have at most 2000 characters')
    .refine(isReceiver, 'must be an http:// or https:// URL, without user, password or fragment'),
  events: z
    .array(z.enum(HOOK_EVENTS, `must be of ${HOOK_EVENTS.join(', ')}`))
    .min(1, 'must name at least one')
    .transform((events) => HOOK_EVENTS.filter((event) => events.includes(event))),
});

/** Reads `{url, events}`. Refusal: `invalid_field`. */
export function parseHookDraft(value: unknown): Pick<Hook, 'url' | 'events'> {
  return parse(hookDraft, value);
}

function isReceiver(text: string): boolean {
  if (!/^https?:\/\/\S+$/i.test(text) || !URL.canParse(text)) return false;
  const { username, password, hash, hostname } = new URL(text);
  return hostname !== '' && username === '' && password === '' && hash === '';
}
