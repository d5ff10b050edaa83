/** How asking the host for claims ended. `ended`: the host says that nobody is logged in. */
export type Renewed = { readonly claims: string } | 'ended';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Asks the host for new claims, on the host's own session, until it gives some or says that nobody is logged in.
 * `told` is called once; the function answered gives up.
 */
export function askHost(url: string, told: (renewed: Renewed) => void): () => void {
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ask = (pauseMs: number) => {
    const again = () => {
      if (isOver) return;
      // Full jitter: after an outage not every page comes back at once.
      const next = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
      timer = setTimeout(() => ask(next), pauseMs * (0.5 + Math.random() / 2));
    };
    fetch(url, { method: 'POST', cache: 'no-store', credentials: 'same-origin', redirect: 'error' })
      .then((response) => {
        if (isOver) return undefined;
        if (response.status === 401 || response.status === 403) return told('ended');
        if (!response.ok) return again();
        return response.text().then((text) => {
          if (isOver) return;
          const claims = claimsIn(text);
          if (claims) told({ claims });
          else again();
        });
      })
      .catch(again);
  };
  ask(FIRST_PAUSE_MS);
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** The claims in an answer: bare, or as `claims` in JSON. */
export function claimsIn(text: string): string | undefined {
  const bare = text.trim();
  if (/^[\w-]+(\.[\w-]+){1,2}$/.test(bare)) return bare;
  // What reads JSON may be the host page's own. Nothing in claims is ever escaped in it.
  return /^\{[\s\S]*"claims"\s*:\s*"([\w.-]+)"[\s\S]*\}$/.exec(bare)?.[1];
}
