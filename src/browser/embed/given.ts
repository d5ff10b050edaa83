import type { Given } from '../frame-messages.ts';

const CLAIMS = /^[\w-]+(\.[\w-]+){1,2}$/;
const NAMES = ['claims', 'origin', 'mode', 'renews', 'lang', 'theme', 'color'] as const;

/** Takes what the host page put into the window's name, and clears it: whatever is loaded here next could read it. */
export function takeGiven(window: { name: string }): Given {
  const { name } = window;
  window.name = '';
  return givenIn(name);
}

/** What a name says: JSON or bare claims. Anything else is somebody's name for the frame, and says nothing. */
export function givenIn(name: string): Given {
  if (CLAIMS.test(name)) return { claims: name };
  const given: Record<string, string> = {};
  try {
    const said = JSON.parse(name) as Record<string, unknown> | null;
    for (const key of NAMES) {
      const value = said?.[key];
      if (typeof value === 'string' && value) given[key] = value;
    }
  } catch {
    // No JSON.
  }
  return given as Given;
}
