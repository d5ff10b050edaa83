import { openWidget, type WidgetApi } from './widget.ts';

const page = window as unknown as { Throughline?: Partial<WidgetApi> };
const script = (document.currentScript ??
  document.querySelector('script[src*="widget.js"]')) as HTMLScriptElement | null;

if (script && 'attachShadow' in document.documentElement) {
  // The client library has the same name: beside it, one global is enough.
  const there = page.Throughline ?? {};
  const api = there.place ? (there as WidgetApi) : openWidget();
  there.open = api.open;
  there.close = api.close;
  there.on = api.on;
  there.setUser = api.setUser;
  there.reset = api.reset;
  there.place = api.place;
  page.Throughline = there;
  api.place(firstLike(script));
}

/** Of several scripts the first of the page counts, whichever comes first: `async` ones come in any order. */
function firstLike(script: HTMLScriptElement): HTMLScriptElement {
  const all = document.getElementsByTagName('script');
  for (let i = 0; i < all.length; i++) {
    const one = all[i] as HTMLScriptElement;
    if (one.src === script.src) return one;
  }
  return script;
}
