import { find, onClick } from './elements.ts';

/** The lists beside the room, which slide in where there isn't the width for them. Only one at a time. */
export function openDrawers(): { close(): void } {
  const names = ['rooms', 'people'];
  const shade = find('shade');
  let current: string | undefined;
  const set = (name: string | undefined) => {
    const previous = current;
    current = name;
    for (const each of names) {
      find(each).classList.toggle('open', each === name);
      find(`open-${each}`).setAttribute('aria-expanded', String(each === name));
    }
    shade.hidden = !name;
    for (const part of ['room', ...names]) {
      if (name && part !== name) find(part).setAttribute('inert', '');
      else find(part).removeAttribute('inert');
    }
    if (name) find(`close-${name}`).focus();
    else if (previous) find(`open-${previous}`).focus();
  };
  for (const name of names) {
    onClick(`open-${name}`, () => set(name));
    onClick(`close-${name}`, () => set(undefined));
  }
  const close = () => {
    if (current) set(undefined);
  };
  onClick('shade', close);
  addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
  });
  // Wide enough for all of it: nothing may stay inert.
  addEventListener('resize', () => {
    if (current && getComputedStyle(find(`close-${current}`)).display === 'none') close();
  });
  return { close };
}
