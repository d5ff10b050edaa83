import { GIVEN, type Given } from '../frame-messages.ts';

const CLAIMS = /^[\w-]+(\.[\w-]+){1,2}$/;

/** Takes what the host page put into the window's name, and clears it: whatever is loaded here next could read it. */
export function takeGiven(window: { name: string }): Given {
  const { name } = window;
  window.name = '';
  return givenIn(name);
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
