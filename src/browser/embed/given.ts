import { GIVEN, type Given } from '../frame-messages.ts';

const CLAIMS = /^[\w-]+(\.[\w-]+){1,2}$/;

/**
 * Takes what the host page put into the window's name, and clears it: whatever is loaded here next could read it. A frame
 * is one of the site's own pages (`frame-ancestors`), but any page may open a window of any name: who is logged in there
 * is said by our own frame alone, which opened it.
 */
export function takeGiven(window: GivenTo): Given {
  const { name } = window;
  window.name = '';
  const given = givenIn(name);
  return window.parent !== window || isOurs(window) ? given : Object.assign(given, { claims: undefined });
}

/** `window`, as far as it tells who opened it. */
export interface GivenTo {
  name: string;
  readonly parent: unknown;
  readonly opener: { readonly location: { readonly origin: string } } | null;
  readonly location: { readonly origin: string };
}

function isOurs({ opener, location }: GivenTo): boolean {
  try {
    return opener !== null && opener.location.origin === location.origin;
  } catch {
    return false;
  }
}

/** What a name says: pairs as in a query, or bare claims. Anything else is somebody's name for the frame, and says nothing. */
export function givenIn(name: string): Given {
  if (CLAIMS.test(name)) return { claims: name };
  const said = new URLSearchParams(name);
  const given: Record<string, string> = {};
  for (const key of GIVEN) {
    const value = said.get(key);
    if (value) given[key] = value;
  }
  return given as Given;
}
