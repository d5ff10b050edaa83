import type { FrameTells, Given, WidgetTells } from '../frame-messages.ts';

/** The line to the widget in the host page. Only what comes from the page right around this frame, and from its origin, is heard. */
export function openHostLine({ mode, origin }: Given, heard: (message: WidgetTells) => void) {
  const isInWidget = mode !== undefined && parent !== window;
  // The browser's own word, where it has one.
  const host = location.ancestorOrigins?.[0] ?? origin;
  if (isInWidget)
    addEventListener('message', (event: MessageEvent<WidgetTells | null>) => {
      if (event.source === parent && event.origin === host && event.data?.throughline) heard(event.data);
    });
  return {
    isInWidget,
    tell(message: FrameTells): void {
      if (isInWidget && host) parent.postMessage(message, host);
    },
  };
}
