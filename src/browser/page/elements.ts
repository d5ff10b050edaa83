import type { User } from '../../chat/users.ts';
import type { Words } from './strings.ts';

/** The element of this id; the page's HTML has it. */
export const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

/** Does something at a click on the element of this id. */
export const onClick = (id: string, act: (event: MouseEvent) => void) =>
  find(id).addEventListener('click', act);

/** Does something at a form's submission, in place of the browser. */
export const onSubmit = (form: HTMLFormElement, act: () => void) =>
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    act();
  });

/** A new element. Texts become text nodes, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A button that does something. */
export function buttonOf(text: string, className: string, act: () => void): HTMLButtonElement {
  const button = make('button', className, text);
  button.type = 'button';
  button.addEventListener('click', act);
  return button;
}

/** A name or title somebody chose: its direction is its own. */
export const nameOf = (text: string, className = '') => make('bdi', className, text);

/** What is to be known of somebody besides the name, in words: above all, that nobody vouches for a guest. */
export function markOf({ guest, bot, role }: User, t: Words): string {
  const kind = guest ? 'guest' : bot ? 'bot' : role;
  return kind ? ` (${t(kind)})` : '';
}

/** Somebody's name, and the mark beside it. */
export const whoIs = (user: User, t: Words) => [nameOf(user.name), make('span', 'mark', markOf(user, t))];

const COLOURS = 8;

/** A person's initials on a colour that stays theirs, beneath the picture, if there is one and it can be had. */
export function avatarOf({ id, name, avatar: url }: User): HTMLElement {
  let hash = 0;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 16_777_619);
  const avatar = make('span', 'avatar', initialsOf(name));
  avatar.setAttribute('data-colour', String((hash >>> 13) % COLOURS));
  avatar.setAttribute('aria-hidden', 'true');
  if (url) {
    const picture = make('img');
    picture.onerror = () => picture.remove();
    picture.src = url;
    avatar.append(picture);
  }
  return avatar;
}

/** One or two letters for a name. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter((word) => word !== '');
  const [first = '?', ...rest] = words;
  const letters = [first, rest.pop() ?? ''].map((word) => Array.from(word)[0] ?? '');
  return letters.join('').toLocaleUpperCase();
}
