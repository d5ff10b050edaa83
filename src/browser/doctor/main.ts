import { Cards, toneOf } from './cards.ts';
import { sendReport } from './consent.ts';
import { copyText } from './copy.ts';
import { type Examination, examine, lengthsFrom } from './examine.ts';
import { recipeFor } from './recipes.ts';
import { closedValues, writeReport } from './report.ts';
import { type Diagnosis, type DoctorReport, type Evidence, RUNGS } from './trace.ts';
import { conclude, PAGE, PROXIES } from './words.ts';

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const conclusion = find('conclusion');
const title = find('conclusion-title');
const text = find('conclusion-text');
const progress = find<HTMLProgressElement>('progress');
const again = find<HTMLButtonElement>('again');
const report = find<HTMLTextAreaElement>('report');
const copied = find('copied');
const sent = find('sent');
const send = find<HTMLButtonElement>('send');
/** Cards are drawn at least so often, for the line that shows the time. */
const REDRAW_MS = 500;
const lengths = lengthsFrom(location.search);
const LONGEST_MS = (lengths.seconds + 5) * 1000;

const base = new URL('.', location.href).href.replace(/\/$/, '');
let show: () => void = () => {};
let values: DoctorReport | undefined;

async function run(): Promise<void> {
  for (const id of ['recipe', 'report-section', 'consent']) find(id).hidden = true;
  again.hidden = true;
  progress.hidden = false;
  conclusion.setAttribute('data-tone', 'busy');
  title.textContent = PAGE.examining;
  say(text, PAGE.patience);
  say(copied, '');
  say(sent, '');
  const cards = new Cards(find('ways'), lengths.seconds * 1000);
  const startedAt = performance.now();
  let isDue = false;
  const { evidence, diagnosis }: Examination = examine(
    {
      base,
      fetch: (input, init) => fetch(input, init),
      WebSocket: window.WebSocket,
      signal: new AbortController().signal,
      onNews: () => {
        if (isDue) return;
        isDue = true;
        requestAnimationFrame(() => show());
      },
    },
    lengths,
  );
  show = () => {
    isDue = false;
    const nowMs = performance.now() - startedAt;
    const done = cards.show(evidence, nowMs);
    progress.value = Math.min(99, (100 * nowMs) / LONGEST_MS);
    if (!progress.hidden) title.textContent = PAGE.busy(done, RUNGS.length);
  };
  const clock = setInterval(show, REDRAW_MS);
  try {
    const found = await diagnosis;
    progress.hidden = true;
    show();
    tell(found, evidence, cards);
  } catch (error) {
    conclusion.setAttribute('data-tone', 'bad');
    title.textContent = PAGE.failed;
    progress.hidden = true;
    console.error(error);
  } finally {
    clearInterval(clock);
    again.hidden = false;
  }
}

function tell(found: Diagnosis, evidence: Evidence, cards: Cards): void {
  const chosen = found.findings.find(({ carrier }) => carrier === found.carrier);
  const isUnreached = found.findings.every(({ verdict, fault }) => verdict === 'unreachable' && !fault);
  const words = isUnreached
    ? PAGE.offline
    : found.isSpoilt
      ? PAGE.spoilt
      : conclude(found.carrier, chosen?.needs);
  title.textContent = words.title;
  say(text, words.text);
  const isTelling = !isUnreached && !found.isSpoilt;
  conclusion.setAttribute('data-tone', !isTelling ? 'wait' : chosen ? toneOf(chosen) : 'bad');
  if (isTelling) {
    cards.choose(found.carrier);
    tellRecipe(found);
  }
  report.value = writeReport(found, evidence, {
    url: `${base}/`,
    at: new Date().toISOString(),
    browser: navigator.userAgent,
  });
  values = isTelling ? closedValues(found) : undefined;
  find('values').textContent = JSON.stringify(values, null, 2) ?? '';
  find('report-section').hidden = false;
  find('consent').hidden = values === undefined;
  send.removeAttribute('aria-disabled');
}

function tellRecipe(found: Diagnosis): void {
  const { advice, code } = recipeFor(found);
  const facts = [PAGE.proxy(PROXIES[found.proxy])];
  if (found.idleCutMs !== undefined) facts.push(PAGE.idle(found.idleCutMs));
  if (found.httpVersion === '1.0') facts.push(PAGE.http10);
  find('proxy').textContent = facts.join(' ');
  const list = find('advice');
  list.textContent = '';
  for (const one of advice) list.appendChild(document.createElement('li')).textContent = one;
  find('code').hidden = code === undefined;
  find('code').textContent = code ?? '';
  find('recipe').hidden = false;
}

async function sendValues(): Promise<void> {
  if (!values || send.getAttribute('aria-disabled') === 'true') return;
  send.setAttribute('aria-disabled', 'true');
  say(sent, PAGE.sending);
  const outcome = await sendReport(base, values);
  if (outcome.how !== 'counted') send.removeAttribute('aria-disabled');
  switch (outcome.how) {
    case 'counted':
      return say(sent, PAGE.sent);
    case 'no session':
      return say(sent, PAGE.needsLogin);
    case 'unreachable':
      return say(sent, PAGE.notSent);
    case 'too fast':
      return say(sent, PAGE.tooFast(outcome.seconds));
    case 'refused':
      return say(sent, PAGE.refusedSend(outcome.code));
    default:
      outcome satisfies never;
  }
}

function say(where: HTMLElement, what: string): void {
  where.textContent = what;
}

find('dead').hidden = true;
for (const id of ['conclusion', 'ways-section']) find(id).hidden = false;
again.addEventListener('click', () => void run());
find('copy').addEventListener('click', async () => {
  say(copied, (await copyText(report)) ? PAGE.copied : PAGE.copyByHand);
});
send.addEventListener('click', () => void sendValues());
window.addEventListener('resize', () => show());
void run();
