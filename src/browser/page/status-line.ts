import type { State } from '../feed.ts';
import { find, onClick } from './elements.ts';
import type { Words } from './strings.ts';

/** How it stands, in words: which carrier carries, and why it isn't the best. */
export function wordsOf(state: State, t: Words): { tone: 'good' | 'wait' | 'bad'; text: string } {
  switch (state.phase) {
    case 'connecting':
      return { tone: 'wait', text: t('connecting') };
    case 'catching-up':
      return { tone: 'wait', text: t('catching') };
    case 'live': {
      if (state.why === 'best') return { tone: 'good', text: t('over', { carrier: t(state.carrier) }) };
      return { tone: 'good', text: `${t('over', { carrier: t(state.carrier) })} – ${t(state.why)}` };
    }
    default:
      return { tone: 'bad', text: t(`off-${state.reason}`) };
  }
}

/** The small line that says which carrier carries and why. Only what it says is read aloud, not how quick it is. */
export function openStatusLine(words: () => Words, wake: () => void) {
  const line = find('status');
  const beside = find('latency');
  const tryNow = find('try-now');
  let state: State = { phase: 'connecting' };
  onClick('try-now', wake);
  const show = () => {
    const t = words();
    const { tone, text } = wordsOf(state, t);
    if (line.textContent !== text) line.textContent = text;
    const around = line.parentNode as HTMLElement;
    around.setAttribute('data-tone', tone);
    around.classList.toggle('best', state.phase === 'live' && state.why === 'best');
    let more = '';
    if (state.phase === 'live' && state.latencyMs !== undefined)
      more = t('ms', { n: Math.round(state.latencyMs) });
    const next = state.phase === 'offline' ? state.nextTryAt : undefined;
    if (next !== undefined) more = t('again', { n: Math.max(0, Math.ceil((next - Date.now()) / 1000)) });
    beside.textContent = more && ` · ${more}`;
    tryNow.hidden = next === undefined;
  };
  setInterval(() => {
    if (state.phase === 'offline') show();
  }, 1000);
  return (now: State = state) => {
    state = now;
    show();
  };
}
