import { iconOf, style } from './dom.ts';
import type { Settings } from './settings.ts';
import type { Labels } from './words.ts';

/** What holds the frame in the host page: as large as what is to be seen of it, and nothing before the frame is ready. */
export interface Holder {
  readonly frame: HTMLIFrameElement;
  readonly element: HTMLElement;
  /** The chat is there, so that it can be seen. */
  ready(): void;
  show(isOpen: boolean): void;
  unread(count: number): void;
}

/** The attribute by which holders are known, also those that a page has copied. */
export const HOLDER = 'data-throughline';

const TALK = 'M5 5h14v11h-8l-4.500 3.500V16H5z';
const CROSS = 'm6 6 12 12M18 6 6 18';
const HIDDEN = 'visibility:hidden;pointer-events:none';
const SEEN = 'visibility:visible;pointer-events:auto';

/** Makes the holder. `toggle`: the bubble was clicked. */
export function makeHolder(settings: Settings, labels: Labels, toggle: () => void): Holder {
  const { mode, place, zIndex, color, offset, width, height } = settings;
  const isBubble = mode === 'bubble';
  const element = document.createElement('div');
  element.setAttribute(HOLDER, '');
  const root = element.attachShadow({ mode: 'closed' });
  const frame = document.createElement('iframe');
  frame.title = labels.chat;
  frame.allow = 'storage-access; clipboard-write';

  if (!isBubble) {
    style(element, `all:initial;display:block;width:${width};max-width:100%;height:0;${HIDDEN}`);
    style(frame, 'all:initial;display:block;width:100%;height:100%;border:0;border-radius:12px');
    root.appendChild(frame);
    return {
      frame,
      element,
      ready: () => style(element, `height:${height};${SEEN}`),
      show: (isOpen) => style(element, isOpen ? `height:${height};${SEEN}` : `height:0;${HIDDEN}`),
      unread() {},
    };
  }

  const side = place.indexOf('left') >= 0 ? 'left' : 'right';
  const edge = place.indexOf('top') >= 0 ? 'top' : 'bottom';
  style(
    element,
    `all:initial;position:fixed;${side}:${offset[0]};${edge}:${offset[1]};width:56px;height:56px;z-index:${zIndex};${HIDDEN}`,
  );
  style(
    frame,
    `all:initial;position:absolute;${side}:0;${edge}:68px;border:0;border-radius:14px;width:min(${width},100vw - 2*${offset[0]});height:min(${height},100vh - 88px - ${offset[1]});background-color:Canvas;box-shadow:0 8px 36px rgba(0,0,0,.28);${HIDDEN}`,
  );
  const button = document.createElement('button');
  button.type = 'button';
  style(
    button,
    `all:revert;position:absolute;display:grid;place-items:center;top:0;left:0;width:56px;height:56px;margin:0;padding:0;border:0;border-radius:28px;cursor:pointer;color:#fff;background-color:#0b6b6b;box-shadow:0 3px 14px rgba(0,0,0,.3)`,
  );
  style(button, `background-color:${color}`);
  const badge = document.createElement('span');
  badge.setAttribute('aria-hidden', 'true');
  style(
    badge,
    'all:initial;position:absolute;top:-4px;right:-4px;min-width:20px;box-sizing:border-box;padding:0 5px;border-radius:10px;background-color:#b3261e;color:#fff;font:600 12px/20px system-ui,sans-serif;text-align:center;pointer-events:none;display:none',
  );
  root.appendChild(frame);
  root.appendChild(button);
  root.appendChild(badge);
  button.addEventListener('click', toggle);

  let isShown = false;
  let unread = 0;
  const draw = () => {
    const icon = iconOf(isShown ? CROSS : TALK);
    if (button.firstChild) button.replaceChild(icon, button.firstChild);
    else button.appendChild(icon);
    const label = isShown ? labels.close : labels.open;
    button.setAttribute('aria-label', unread && !isShown ? `${label} (${unread})` : label);
    button.setAttribute('aria-expanded', String(isShown));
    badge.textContent = unread > 99 ? '99+' : String(unread);
    style(badge, `display:${unread && !isShown ? 'block' : 'none'}`);
  };
  draw();
  return {
    frame,
    element,
    ready: () => style(element, SEEN),
    show(isOpen) {
      const hadFocus = isShown && root.activeElement === frame;
      isShown = isOpen;
      style(frame, isOpen ? SEEN : HIDDEN);
      draw();
      if (isOpen) frame.focus();
      else if (hadFocus) button.focus();
    },
    unread(count) {
      unread = count;
      draw();
    },
  };
}
