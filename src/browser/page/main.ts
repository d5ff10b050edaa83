import { ThroughlineClient } from '../client.ts';
import { find } from './elements.ts';
import { openPage } from './page.ts';
import { chosenLanguage } from './settings.ts';
import { openMemory } from './storage.ts';
import { fetchWords } from './strings.ts';

// The page is served at several depths, but always beside its script.
const script = document.currentScript as HTMLScriptElement | null;
const base = new URL('.', script ? script.src : location.href).href.replace(/\/$/, '');

/** Nothing is shown in one language to be shown in another a moment later. */
async function start(): Promise<void> {
  const memory = openMemory();
  const words = await fetchWords(base, chosenLanguage(memory));
  openPage(base, memory, words, () => new ThroughlineClient({ url: base }));
  find('stopgap').remove();
}

start().catch((error: unknown) => {
  find('stopgap').classList.add('failed');
  throw error;
});
