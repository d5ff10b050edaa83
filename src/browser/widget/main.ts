import { settingsOf } from './settings.ts';
import { openWidget, type WidgetApi } from './widget.ts';

const page = window as unknown as { Throughline?: Partial<WidgetApi> };
const script = (document.currentScript ??
  document.querySelector('script[src*="widget.js"]')) as HTMLScriptElement | null;
const isThere = page.Throughline?.setUser !== undefined;

// A page that loads it twice, such as by two templates, has one chat.
if (script && !isThere && 'attachShadow' in document.documentElement) {
  const settings = settingsOf(script, { href: location.href, lang: document.documentElement.lang });
  const api = openWidget(new URL('.', script.src), settings, script);
  // The client library has the same name: beside it, one global is enough.
  const there = page.Throughline ?? {};
  there.open = api.open;
  there.close = api.close;
  there.on = api.on;
  there.setUser = api.setUser;
  there.reset = api.reset;
  page.Throughline = there;
}
