import type { User } from '../../chat/users.ts';
import { find, onSubmit } from './elements.ts';

/** The form by which guests come in. */
export function openLogIn(host: {
  logIn(name: string): Promise<User>;
  entered(user: User): void;
  wordsFor(error: unknown): string;
}) {
  const form = find<HTMLFormElement>('log-in');
  const field = find<HTMLInputElement>('name');
  const alert = find('door-alert');
  let isAsking = false;
  const submit = async () => {
    if (isAsking) return;
    isAsking = true;
    alert.textContent = '';
    try {
      host.entered(await host.logIn(field.value));
    } catch (error) {
      alert.textContent = host.wordsFor(error);
      field.focus();
    }
    isAsking = false;
  };
  onSubmit(form, () => void submit());
  return (message: string, name?: string) => {
    alert.textContent = message;
    if (name) field.value = name;
    field.focus();
  };
}
