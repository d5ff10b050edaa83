import type { openAlerts } from './alerts.ts';
import { find, make, onClick } from './elements.ts';
import type { Memory } from './storage.ts';
import { LANGUAGES, languageFor, type Words } from './strings.ts';

/** Shows a dialog; without focus being held in it where the browser has no modal ones. */
export function openDialog(dialog: HTMLDialogElement): void {
  if (dialog.showModal) dialog.showModal();
  else dialog.setAttribute('open', '');
}

/** Takes a dialog away. */
export function closeDialog(dialog: HTMLDialogElement): void {
  if (dialog.close) dialog.close();
  else dialog.removeAttribute('open');
}

/** The language asked for: the one chosen here before, else the browser's. */
export const chosenLanguage = (memory: Memory) =>
  languageFor([memory.get('language'), ...(navigator.languages || [navigator.language])]);

/** Applies the chosen appearance. */
export function applyTheme(memory: Memory): void {
  const theme = memory.get('theme');
  const root = document.documentElement;
  if (theme) root.setAttribute('data-theme', theme);
  else root.removeAttribute('data-theme');
}

/** Appearance, language, sound and notifications. */
export function openSettings(
  memory: Memory,
  words: () => Words,
  alerts: ReturnType<typeof openAlerts>,
  host: { changedLanguage(): Promise<void>; logOut(): void },
): void {
  const dialog = find<HTMLDialogElement>('settings');
  const theme = find<HTMLSelectElement>('theme');
  const language = find<HTMLSelectElement>('language');
  const sound = find<HTMLInputElement>('sound');
  const notify = find<HTMLInputElement>('notify');
  for (const code of Object.keys(LANGUAGES)) {
    const option = make('option', '', (LANGUAGES[code] as { name: string }).name);
    option.value = option.lang = code;
    language.append(option);
  }
  const show = () => {
    theme.value = memory.get('theme') ?? '';
    language.value = words().language;
    sound.checked = alerts.wantsSound();
    notify.checked = alerts.wantsNotifications();
    notify.disabled = alerts.isDenied();
    find('notify-note').hidden = !notify.disabled;
    find('memory-note').hidden = !memory.isDenied();
  };
  onClick('open-settings', () => {
    show();
    openDialog(dialog);
  });
  onClick('close-settings', () => closeDialog(dialog));
  onClick('log-out', () => {
    closeDialog(dialog);
    host.logOut();
  });
  theme.addEventListener('change', () => {
    memory.set('theme', theme.value);
    applyTheme(memory);
  });
  language.addEventListener('change', () => {
    memory.set('language', language.value);
    void host.changedLanguage().then(show);
  });
  sound.addEventListener('change', () => alerts.setSound(sound.checked));
  notify.addEventListener('change', () => void alerts.setNotifications(notify.checked).then(show));
}
