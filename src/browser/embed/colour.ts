/** Colours the frame's head. What isn't a colour is left alone; the text on it is whichever of black and white reads better. */
export function applyColour(root: HTMLElement, colour: string | undefined): void {
  if (!colour || !CSS.supports('color', colour)) return;
  const probe = document.body.appendChild(document.createElement('span'));
  probe.style.color = colour;
  const channels = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).map(Number);
  probe.remove();
  root.style.setProperty('--brand', colour);
  root.style.setProperty('--on-brand', isLight(channels) ? '#000000' : '#ffffff');
  root.setAttribute('data-brand', '');
}

/** Whether black reads better than white on it. [spec] WCAG 2.2, relative luminance; both contrasts are equal at 0.179. */
export function isLight(channels: readonly number[]): boolean {
  const [red = 0, green = 0, blue = 0] = channels.map((channel) => {
    const share = channel / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179;
}
