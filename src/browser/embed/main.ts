import { find } from '../page/elements.ts';
import { chosenLanguage } from '../page/settings.ts';
import { openMemory } from '../page/storage.ts';
import { fetchWords, languageFor } from '../page/strings.ts';
import { openFrame } from './frame.ts';
import { takeGiven } from './given.ts';

const given = takeGiven(window);
const script = document.currentScript as HTMLScriptElement | null;
const base = new URL('.', script ? script.src : location.href).href.replace(/\/$/, '');

async function start(): Promise<void> {
  const memory = openMemory();
  const language = given.lang ? languageFor([given.lang]) : chosenLanguage(memory);
  openFrame(base, memory, await fetchWords(base, language), given);
  find('stopgap').remove();
}

start().catch((error: unknown) => {
  find('stopgap').classList.add('failed');
  throw error;
});
