import { find, onSubmit } from './elements.ts';
import { type Memory, readJson } from './storage.ts';
import type { Words } from './strings.ts';

const MOST_CHARACTERS = 4000;

/** The key under which a user's drafts are kept. */
export const draftsKey = (userId: string) => `drafts:${userId}`;

/** Where one writes: grows with its text, and keeps each room's draft. */
export function openComposer(
  memory: Memory,
  words: () => Words,
  host: { maySend(): boolean; send(text: string): void; grew(): void },
) {
  const form = find<HTMLFormElement>('composer');
  const field = find<HTMLTextAreaElement>('text');
  const note = find('text-note');
  const button = find<HTMLButtonElement>('send');
  let drafts: Record<string, string> = {};
  let place: { user: string; room: string } | undefined;

  const grow = () => {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
    const excess = Array.from(field.value).length - MOST_CHARACTERS;
    note.textContent = excess > 0 ? words()('left', { n: excess }) : words()('keys');
    note.classList.toggle('bad', excess > 0);
    button.setAttribute('aria-disabled', String(field.readOnly || excess > 0 || field.value.trim() === ''));
    host.grew();
  };
  const keep = () => {
    if (!place) return;
    // Another tab may have kept drafts of other rooms meanwhile.
    drafts = readJson<Record<string, string>>(memory, draftsKey(place.user)) ?? {};
    if (field.value) drafts[place.room] = field.value;
    else delete drafts[place.room];
    memory.set(draftsKey(place.user), JSON.stringify(drafts));
  };
  const submit = () => {
    if (button.getAttribute('aria-disabled') === 'true' || !host.maySend()) return;
    const text = field.value;
    field.value = '';
    keep();
    grow();
    host.send(text);
  };

  onSubmit(form, () => {
    submit();
    field.focus();
  });
  field.addEventListener('input', () => {
    keep();
    grow();
  });
  field.addEventListener('keydown', (event) => {
    // While an input method composes, Enter belongs to it; 229 is how older browsers say so.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });

  return {
    grow,
    focus: () => field.focus(),
    /** Shows this room's draft. `carried`: a draft that somebody wrote before their session ended. */
    open(user: string, room: string, title: string, carried?: string) {
      // Where nobody wrote before, what there is was typed while the room was being opened.
      const typed = place ? '' : field.value;
      place = { user, room };
      const kept = readJson<Record<string, unknown>>(memory, draftsKey(user)) ?? {};
      const draft = kept[room];
      field.value = typeof draft === 'string' ? draft : (carried ?? typed);
      const label = words()('writeTo', { room: title });
      field.placeholder = label;
      field.setAttribute('aria-label', label);
      if (carried) keep();
      grow();
    },
    text: () => field.value,
    /** Whether the room can only be read; a draft stays where it is. */
    setClosed(isClosed: boolean) {
      if (field.readOnly === isClosed) return;
      field.readOnly = isClosed;
      find('why-room_closed').hidden = !isClosed;
      grow();
    },
    /** Nobody writes here any more. */
    shut() {
      place = undefined;
      field.value = '';
    },
  };
}
