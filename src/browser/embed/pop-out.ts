import { type Given, nameFor } from '../frame-messages.ts';
import { find } from '../page/elements.ts';
import { endOfClaims } from './claims.ts';

/** The links to the same page in a window of its own, which is handed the claims as a frame is: in its name. */
export function openPopOut({ lang, theme, mode }: Given, claims: () => string | undefined): void {
  if (parent === window) {
    // Whoever opened this window has no business with it.
    window.opener = null;
    return;
  }
  for (const link of Array.from(document.querySelectorAll<HTMLAnchorElement>('.pop-out'))) {
    link.hidden = false;
    link.href = location.pathname;
    link.addEventListener('click', (event) => {
      if (mode === 'bubble') find('shut').click();
      const held = claims();
      if (!held || endOfClaims(held) < Date.now()) return;
      if (open(link.href, nameFor({ claims: held, lang, theme }))) event.preventDefault();
    });
  }
}
