import type { FrameTells, Given, WidgetTells } from '../frame-messages.ts';
import { type Holder, makeHolder } from './holder.ts';
import { askHost } from './renewal.ts';
import type { Settings } from './settings.ts';
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
}

/** So long the frame has to say that it is there. */
const READY_WITHIN_MS = 20_000;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 600_000;

/** Puts the chat into the host page, once there is a place for it. `base`: the folder of the script. */
export function openWidget(base: URL, settings: Settings, script: Element): WidgetApi {
  const { site, room, mode, authUrl, target, lang } = settings;
  const url = `${base.href}embed/${encodeURIComponent(site)}/${encodeURIComponent(room)}`;
  const listeners: [string, (detail: never) => void][] = [];
  let holder: Holder | undefined;
  let { claims } = settings;
  /** What the frame was given when it was loaded. */
  let handed: string | undefined;
  let isReady = false;
  let isOpen = mode === 'inline';
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
    frame.name = JSON.stringify(given);
    frame.src = url;
    timer = setTimeout(() => {
      // Nothing of it was to be seen; later it may come, in a frame made anew, since another address would be a step in the page's history.
      remove();
      emit('error', { code: 'unreachable' });
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
    const isNews = isOpen !== wanted;
    isOpen = wanted;
    if (!isReady) return;
    holder?.show(isOpen);
    tell({ throughline: 'shown', isShown: isOpen });
    if (isNews) emit(isOpen ? 'open' : 'close');
  };

  const vouch = () => tell(claims ? { throughline: 'claims', claims } : { throughline: 'reset' });
  const renew = () => {
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
        if (isOpen && mode === 'bubble') {
          isOpen = false;
          show(true);
        }
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
  const place = (): Element | null => {
    if (mode === 'bubble') return document.body;
    if (target) return document.querySelector(target);
    const { parentNode } = script;
    return parentNode === document.head ? null : (parentNode as Element | null);
  };
  const put = (): boolean => {
    const parent = place();
    if (!parent) return false;
    holder = makeHolder(settings, labelsIn(lang), () => show(!isOpen));
    load(holder.frame);
    const isBesideScript = mode === 'inline' && !target;
    parent.insertBefore(holder.element, isBesideScript ? script : null);
    return true;
  };
  if (!put()) {
    const putAtLast = () => {
      if (!put()) emit('error', { code: 'no_place' });
    };
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', putAtLast);
    else putAtLast();
  }

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
  };
}
