/** What the host page has said of the widget, by the attributes of its script. */
export interface Settings {
  readonly site: string;
  readonly room: string;
  readonly claims: string | undefined;
  /** Where the host's own session gives new claims; of the page's own origin. */
  readonly authUrl: string | undefined;
  /** What was said of that is no URL, or another origin's. */
  readonly isAuthUrlBad: boolean;
  readonly mode: 'bubble' | 'inline';
  /** The selector of the element that has the inline chat. */
  readonly target: string | undefined;
  readonly lang: string;
  readonly theme: string | undefined;
  readonly color: string;
  readonly zIndex: string;
  /** Corner of the bubble, such as `bottom-right`. */
  readonly place: string;
  /** Distance from the corner, in px, across and down. */
  readonly offset: readonly [string, string];
  readonly width: string;
  readonly height: string;
}

/** Reads the attributes. What is missing or unfit is as if it hadn't been said. */
export function settingsOf(
  script: Element,
  page: { readonly base: string; readonly origin: string; readonly lang: string },
): Settings {
  const said = (name: string) => script.getAttribute(`data-${name}`) || undefined;
  const length = (name: string, other: string) => {
    const text = said(name) || other;
    return /^\d+$/.test(text) ? `${text}px` : text;
  };
  const [across = '20', down = across] = (said('offset') || '20').split(/[\s,]+/);
  const authUrl = ownUrl(said('auth-url'), page);
  const mode = said('mode') === 'inline' ? 'inline' : 'bubble';
  return {
    site: said('site') || 'main',
    room: said('room') || 'lobby',
    claims: said('claims'),
    authUrl,
    isAuthUrlBad: !authUrl && !!said('auth-url'),
    mode,
    target: said('target'),
    lang: said('lang') || page.lang,
    theme: said('theme'),
    color: said('color') || '#0b6b6b',
    zIndex: said('z-index') || '2147483000',
    place: said('place') || 'bottom-right',
    offset: [`${parseInt(across, 10) || 0}px`, `${parseInt(down, 10) || 0}px`],
    width: length('width', mode === 'inline' ? '100%' : '380'),
    height: length('height', mode === 'inline' ? '480' : '600'),
  };
}

/** The URL, if it is of the page's own origin: claims are nobody else's to give. */
function ownUrl(
  url: string | undefined,
  page: { readonly base: string; readonly origin: string },
): string | undefined {
  if (url === undefined) return undefined;
  try {
    const { href, origin } = new URL(url, page.base);
    return origin === page.origin ? href : undefined;
  } catch {
    return undefined;
  }
}
