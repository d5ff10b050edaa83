/** What a page's own events mean to a client. */
interface Wakeable {
  wake(why: 'online' | 'shown'): void;
  rest(isHidden: boolean): void;
  /** The page is left: perhaps for good, perhaps to come back just as it is. */
  suspend(): void;
  resume(): void;
}

/** Passes on what the page's own events tell; answers the function that stops that. Does nothing where there is no page. */
export function listenForWakeUps(client: Wakeable): () => void {
  if (typeof document === 'undefined') return () => {};
  const isHidden = () => document.visibilityState === 'hidden';
  const stop = new AbortController();
  const on = (target: EventTarget, name: string, act: (event: Event) => void) => {
    target.addEventListener(name, act);
    stop.signal.addEventListener('abort', () => target.removeEventListener(name, act));
  };
  on(document, 'visibilitychange', () => {
    client.rest(isHidden());
    if (!isHidden()) client.wake('shown');
  });
  on(window, 'online', () => client.wake('online'));
  const { connection } = navigator as { connection?: EventTarget };
  if (connection?.addEventListener) on(connection, 'change', () => client.wake('online'));
  // [spec] WHATWG HTML, 7.4.6: a page with connections open isn't kept for going back to.
  on(window, 'pagehide', () => client.suspend());
  // [spec] Page Lifecycle: a frozen page hears nothing, so another tab has to lead.
  on(document, 'freeze', () => client.suspend());
  on(document, 'resume', () => client.resume());
  on(window, 'pageshow', (event) => {
    if ((event as PageTransitionEvent).persisted) client.resume();
  });
  client.rest(isHidden());
  return () => stop.abort();
}
