import { ThroughlineClient } from '../client.ts';
import { find } from './elements.ts';
import { openPage } from './page.ts';
import { openMemory } from './storage.ts';

// The page is served at several depths, but always beside its script.
const script = document.currentScript as HTMLScriptElement | null;
const base = new URL('.', script ? script.src : location.href).href.replace(/\/$/, '');

try {
  const memory = openMemory();
  openPage(base, memory, () => new ThroughlineClient({ url: base }));
  find('stopgap').remove();
} catch (error) {
  find('stopgap').classList.add('failed');
  throw error;
}
