/** What the widget hands to its frame, in the frame's `name`; whoever has an iframe alone may put bare claims there. */
export interface Given {
  readonly claims?: string | undefined;
  /** The origin of the host page. */
  readonly origin?: string | undefined;
  /** How the widget shows the frame; without one there is no widget. */
  readonly mode?: 'bubble' | 'inline' | undefined;
  /** `1` if the widget can get new claims. */
  readonly renews?: string | undefined;
  readonly lang?: string | undefined;
  readonly theme?: string | undefined;
  readonly color?: string | undefined;
}

/** All that may be handed over. */
export const GIVEN = ['claims', 'origin', 'mode', 'renews', 'lang', 'theme', 'color'] as const;

/** The name that hands this over: pairs as in a query. JSON wouldn't do, since libraries of old put their own in its place. */
export function nameFor(given: Given): string {
  let name = '';
  for (let i = 0; i < GIVEN.length; i++) {
    const key = GIVEN[i] as (typeof GIVEN)[number];
    const value = given[key];
    if (value) name += `${key}=${encodeURIComponent(value)}&`;
  }
  return name;
}

/** What the frame tells the widget. */
export type FrameTells =
  | { readonly throughline: 'ready' }
  /** New claims are wanted: there were none, or what they were exchanged for ends. */
  | { readonly throughline: 'claims' }
  /** The reader wants the frame out of the way. */
  | { readonly throughline: 'close' }
  | { readonly throughline: 'unread'; readonly count: number }
  | { readonly throughline: 'error'; readonly code: string };

/** What the widget tells its frame. */
export type WidgetTells =
  | { readonly throughline: 'shown'; readonly isShown: boolean }
  | { readonly throughline: 'claims'; readonly claims: string }
  /** The host itself says that nobody is logged in any more. */
  | { readonly throughline: 'ended' }
  /** The host page asks for the chat to be logged out. */
  | { readonly throughline: 'reset' };
