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
  /** Milliseconds since 1970. */
  readonly createdAt: number;
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
