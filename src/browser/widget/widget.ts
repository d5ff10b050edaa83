import { type FrameTells, type Given, nameFor, type WidgetTells } from '../frame-messages.ts';
import { HOLDER, type Holder, makeHolder } from './holder.ts';
import { askHost } from './renewal.ts';
import { type Settings, settingsOf } from './settings.ts';
import { labelsIn } from './words.ts';

/** What happens, by name; on `document` the same as `throughline:<name>`. */
export interface WidgetEvents {
  ready: undefined;
  open: undefined;
  close: undefined;
  unread: { readonly count: number };
  error: { readonly code: string };
}

/** What the host page can do: the global `Throughline`. */
export interface WidgetApi {
  open(): void;
  close(): void;
  /** Calls `listener` at each event of that name; answers the function that stops that. */
  on<K extends keyof WidgetEvents>(name: K, listener: (detail: WidgetEvents[K]) => void): () => void;
  /** Somebody else is logged in at the host: their claims. */
  setUser(claims: string): void;
  /** Nobody is. */
  reset(): void;
  /**
   * The script runs: puts the chat where it says. Again, as where a page's body is swapped for another's, it does so only
   * if the chat has gone with the body: a page with several scripts has one chat.
   */
  place(script: HTMLScriptElement): void;
}

/** So long the frame has to say that it is there. */
const READY_WITHIN_MS = 20_000;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 600_000;
/** A page that loads for longer isn't waited for. */
const LOADED_WITHIN_MS = 10_000;

/** Opens the widget: it puts the chat into the host page once it has been told by which script, and there is a place for it. */
export function openWidget(): WidgetApi {
  const listeners: [string, (detail: never) => void][] = [];
  let script: HTMLScriptElement;
  let settings: Settings;
  /** The folder of the script. */
  let base: URL;
  let holder: Holder | undefined;
  /** There is no chat yet, but it will be put. */
  let isDue = false;
  let claims: string | undefined;
  /** What the frame was given when it was loaded. */
  let handed: string | undefined;
  let isReady = false;
  let isOpen = false;
  let toldOpen = false;
  let retryMs = FIRST_RETRY_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let giveUp: (() => void) | undefined;

  const emit = <K extends keyof WidgetEvents>(name: K, detail?: WidgetEvents[K]) => {
    for (let i = 0; i < listeners.length; i++) {
      const [wanted, listener] = listeners[i] as (typeof listeners)[number];
      if (wanted !== name) continue;
      try {
        listener(detail as never);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
    }
    document.dispatchEvent(new CustomEvent(`throughline:${name}`, { detail }));
  };
  const tell = (message: WidgetTells) => {
    if (isReady) holder?.frame.contentWindow?.postMessage(message, base.origin);
  };

  /** All of it is there before the frame is in the page: browsers take its name then, and not later. The name is sent to nobody. */
  const load = (frame: HTMLIFrameElement) => {
    const { site, room, mode, authUrl, lang } = settings;
    const given: Given = {
      claims,
      origin: location.origin,
      mode,
      renews: authUrl && '1',
      lang,
      theme: settings.theme,
      color: settings.color,
    };
    handed = claims;
    isReady = false;
    frame.name = nameFor(given);
    frame.src = `${base.href}embed/${encodeURIComponent(site)}/${encodeURIComponent(room)}`;
    let loads = 0;
    frame.addEventListener('load', () => {
      // [spec] WHATWG HTML, 4.8.5: with a `src`, the empty document before it tells of no load. Loaded again by itself,
      // the frame knows nothing of what it was given.
      if (++loads > 1 && isReady && holder?.frame === frame) {
        remove();
        put();
      }
    });
    clearTimeout(timer);
    timer = setTimeout(() => {
      // Nothing of it was to be seen; later it may come, in a frame made anew, since another address would be a step in the page's history.
      remove();
      emit('error', { code: 'unreachable' });
      isDue = true;
      timer = setTimeout(put, retryMs);
      retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
    }, READY_WITHIN_MS);
  };
  const remove = () => {
    const { element } = holder ?? {};
    element?.parentNode?.removeChild(element);
    holder = undefined;
  };

  const show = (wanted: boolean) => {
    isOpen = wanted;
    if (!isReady) return;
    holder?.show(isOpen);
    tell({ throughline: 'shown', isShown: isOpen });
    if (isOpen !== toldOpen) emit(isOpen ? 'open' : 'close');
    toldOpen = isOpen;
  };

  const vouch = () => tell(claims ? { throughline: 'claims', claims } : { throughline: 'reset' });
  const renew = () => {
    const { authUrl } = settings;
    if (!authUrl) return;
    giveUp?.();
    giveUp = askHost(authUrl, (renewed) => {
      giveUp = undefined;
      if (renewed === 'ended') {
        claims = undefined;
        tell({ throughline: 'ended' });
      } else {
        ({ claims } = renewed);
        vouch();
      }
    });
  };

  const heed = (message: FrameTells) => {
    switch (message.throughline) {
      case 'ready':
        clearTimeout(timer);
        retryMs = FIRST_RETRY_MS;
        isReady = true;
        holder?.frame.removeAttribute('name');
        holder?.ready();
        if (claims !== handed) vouch();
        emit('ready');
        // Opened before there was anything to see, it opens now.
        if (isOpen !== (settings.mode === 'inline')) show(isOpen);
        return;
      case 'claims':
        return renew();
      case 'close':
        return show(false);
      case 'unread':
        holder?.unread(message.count);
        return emit('unread', { count: message.count });
      case 'error':
        return emit('error', { code: message.code });
    }
  };
  addEventListener('message', (event: MessageEvent<FrameTells | null>) => {
    const isOurs = holder && event.source === holder.frame.contentWindow && event.origin === base.origin;
    if (isOurs && event.data) heed(event.data);
  });

  /** The element that is to have the chat, if it is there by now. */
  const placeOf = ({ mode, target }: Settings): Element | null => {
    if (mode === 'bubble') return document.body;
    try {
      if (target) return document.querySelector(target);
    } catch {
      // No selector.
      return null;
    }
    const { parentNode } = script;
    return parentNode === document.head ? null : (parentNode as Element | null);
  };
  const put = (): boolean => {
    const parent = placeOf(settings);
    isDue = !parent;
    if (!parent) return false;
    // A page that is put back from a copy, as Turbolinks does, has a copy of the holder too: empty, and in the way.
    const copy = document.querySelector(`[${HOLDER}]`);
    copy?.parentNode?.removeChild(copy);
    holder = makeHolder(settings, labelsIn(settings.lang), () => show(!isOpen));
    load(holder.frame);
    const isBesideScript = settings.mode === 'inline' && !settings.target;
    parent.insertBefore(holder.element, isBesideScript ? script : null);
    return true;
  };
  const putAtLast = () => {
    if (!isDue || put()) return;
    isDue = false;
    emit('error', { code: 'no_place' });
  };

  return {
    open: () => show(true),
    close: () => show(false),
    on(name, listener) {
      const entry: (typeof listeners)[number] = [name, listener as (detail: never) => void];
      listeners.push(entry);
      return () => {
        const at = listeners.indexOf(entry);
        if (at >= 0) listeners.splice(at, 1);
      };
    },
    setUser(given) {
      giveUp?.();
      claims = given;
      vouch();
    },
    reset() {
      giveUp?.();
      claims = undefined;
      vouch();
    },
    place(next) {
      if (holder ? holder.element.isConnected : isDue && script.isConnected) return;
      giveUp?.();
      clearTimeout(timer);
      remove();
      script = next;
      base = new URL('.', script.src);
      settings = settingsOf(script, {
        base: document.baseURI,
        origin: location.origin,
        lang: document.documentElement.lang,
      });
      ({ claims } = settings);
      isOpen = toldOpen = settings.mode === 'inline';
      if (settings.isAuthUrlBad) emit('error', { code: 'bad_auth_url' });
      isDue = true;
      // A frame that is put before holds back the page's own `load`, for as long as the chat is slow.
      if (document.readyState === 'complete') return putAtLast();
      addEventListener('load', putAtLast);
      timer = setTimeout(put, LOADED_WITHIN_MS);
    },
  };
}
