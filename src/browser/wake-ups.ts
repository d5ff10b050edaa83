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
  const { connection } = navigator as { connection?: EventTarget & { type?: string } };
  let kind = connection?.type;
  if (connection?.addEventListener)
    on(connection, 'change', () => {
      // It also tells of every new estimate of its speed.
      if (connection.type !== kind) client.wake('online');
      kind = connection.type;
    });
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
