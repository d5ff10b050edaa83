// Host pages change what is built in: libraries of old replace methods of Array and Element, and add to what `for … in`
// finds. Only what none of them touches is used here: plain loops, plain properties and `setProperty`.

/** Says how an element looks. By CSSOM, which no content security policy forbids; `!important`, so that no rule of the page wins. */
export function style(element: HTMLElement | SVGElement, css: string): void {
  const declarations = css.split(';');
  for (let i = 0; i < declarations.length; i++) {
    const declaration = declarations[i] as string;
    const colon = declaration.indexOf(':');
    if (colon > 0)
      element.style.setProperty(
        declaration.slice(0, colon).trim(),
        declaration.slice(colon + 1).trim(),
        'important',
      );
  }
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon of one line. */
export function iconOf(path: string): SVGElement {
  const icon = document.createElementNS(SVG, 'svg');
  icon.setAttribute('viewBox', '0 0 24 24');
  icon.setAttribute('aria-hidden', 'true');
  style(
    icon,
    'width:26px;height:26px;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round;pointer-events:none',
  );
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', path);
  icon.appendChild(line);
  return icon;
}
