import { make } from './elements.ts';
import type { openLinks } from './links.ts';

const HINT = /:\/\/|@|\.[^\s\d.]/;

/** Whether it is worth looking for links in a text: without a scheme, an `@` or a dot inside there can't be any. */
export const mayHaveLinks = (text: string) => HINT.test(text);

/**
 * What makes nodes of texts. What finds links is a script of its own, loaded at the first text that may have some:
 * `ready` is told when texts shown before can get theirs. If it doesn't come, or the browser is without the regular
 * expressions it needs, texts stay texts.
 */
export function loadLinks(base: string, ready: () => void): (text: string) => Node[] {
  let nodesOf = (text: string): Node[] => [document.createTextNode(text)];
  let script: HTMLScriptElement | undefined;
  return (text) => {
    if (!script && mayHaveLinks(text)) {
      script = make('script');
      script.src = `${base}/links.js`;
      script.onload = () => {
        const { ThroughlineLinks } = self as { ThroughlineLinks?: { openLinks: typeof openLinks } };
        if (!ThroughlineLinks) return;
        try {
          nodesOf = ThroughlineLinks.openLinks();
          ready();
        } catch {
          // Without the regular expressions.
        }
      };
      document.head.append(script);
    }
    return nodesOf(text);
  };
}
