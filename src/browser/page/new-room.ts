import { find, onClick, onSubmit } from './elements.ts';
import { closeDialog, openDialog } from './settings.ts';

/** What a title becomes in an address. */
export function roomNameFrom(title: string): string {
  return title
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
}

/** The form that makes a new room. */
export function openNewRoom(host: {
  create(room: string, title: string): Promise<void>;
  created(room: string): void;
  wordsFor(error: unknown): string;
}): void {
  const dialog = find<HTMLDialogElement>('room-dialog');
  const form = find<HTMLFormElement>('room-form');
  const title = find<HTMLInputElement>('room-title');
  const room = find<HTMLInputElement>('room-name');
  const alert = find('room-alert');
  let isOwnName = false;
  onClick('new-room', () => {
    form.reset();
    alert.textContent = '';
    isOwnName = false;
    openDialog(dialog);
    title.focus();
  });
  onClick('cancel-room', () => closeDialog(dialog));
  room.addEventListener('input', () => {
    isOwnName = room.value !== '';
  });
  title.addEventListener('input', () => {
    if (!isOwnName) room.value = roomNameFrom(title.value);
  });
  const create = async () => {
    try {
      await host.create(room.value, title.value);
      // First, for it gives the focus back to where it was.
      closeDialog(dialog);
      host.created(room.value);
    } catch (error) {
      alert.textContent = host.wordsFor(error);
    }
  };
  onSubmit(form, () => void create());
}
