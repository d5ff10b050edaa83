import { findingSoFar } from './choice.ts';
import { drawPolls, drawStream } from './picture.ts';
import { type Evidence, type Finding, type ProbedCarrier, RUNGS } from './trace.ts';
import { CARRIERS, explain, PAGE, VERDICTS } from './words.ts';

/** How good a finding is, for the eye. */
export function toneOf({ verdict, needs, fault }: Finding): 'good' | 'wait' | 'bad' {
  if (fault) return 'wait';
  if (verdict === 'arrives') return needs ? 'wait' : 'good';
  return needs || verdict === 'delayed' ? 'wait' : 'bad';
}

/** The cards of all carriers, best first: what each is, what becomes of it, and a picture of that. */
export class Cards {
  readonly #cards: readonly Card[];

  /** `lastsMs`: how long what lasts is watched. */
  constructor(list: HTMLElement, lastsMs: number) {
    list.textContent = '';
    this.#cards = RUNGS.map((carrier) => new Card(list, carrier, lastsMs));
  }

  /** Shows what there is by now; answers how many carriers are done. */
  show(evidence: Evidence, nowMs: number): number {
    return this.#cards.filter((card) => card.show(evidence, nowMs)).length;
  }

  choose(chosen: ProbedCarrier | 'none'): void {
    for (const card of this.#cards) card.choose(card.carrier === chosen);
  }
}

class Card {
  readonly carrier: ProbedCarrier;
  readonly #lastsMs: number;
  readonly #item: HTMLElement;
  readonly #head: HTMLElement;
  readonly #badge: HTMLElement;
  readonly #words: HTMLElement;
  readonly #picture: SVGSVGElement;
  /** Nothing changes any more but for the width. */
  #doneAtWidth: number | undefined;

  constructor(list: HTMLElement, carrier: ProbedCarrier, lastsMs: number) {
    this.carrier = carrier;
    this.#lastsMs = lastsMs;
    this.#item = add(list, 'li', 'way');
    this.#head = add(this.#item, 'header', '');
    add(this.#head, 'h3', '', CARRIERS[carrier].name);
    this.#badge = add(this.#head, 'span', 'badge', '…');
    add(this.#item, 'p', 'what', CARRIERS[carrier].what);
    this.#words = add(this.#item, 'p', 'finding', PAGE.waiting);
    this.#picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    this.#picture.setAttribute('role', 'img');
    this.#item.appendChild(this.#picture);
  }

  show(evidence: Evidence, nowMs: number): boolean {
    const width = Math.max(200, Math.floor(this.#words.clientWidth));
    if (this.#doneAtWidth === width) return true;
    const finding = findingSoFar(evidence, this.carrier);
    if (finding) this.#doneAtWidth = width;
    const said = finding ? explain(finding) : this.#soFar(evidence, nowMs);
    if (this.#words.textContent !== said) this.#words.textContent = said;
    this.#badge.textContent = finding ? VERDICTS[finding.verdict] : '…';
    if (finding) this.#badge.setAttribute('data-tone', toneOf(finding));
    this.#picture.setAttribute('aria-label', PAGE.picture(CARRIERS[this.carrier].name, said));
    const stream = evidence.streams.find((one) => one.carrier === this.carrier);
    if (stream) drawStream(this.#picture, stream, width, nowMs);
    else if (this.carrier === 'long-poll')
      drawPolls(this.#picture, evidence.heldPolls, width, nowMs, this.#lastsMs);
    else drawPolls(this.#picture, evidence.shortPolls, width, nowMs, this.#lastsMs);
    return finding !== undefined;
  }

  choose(isChosen: boolean): void {
    if (!isChosen) return;
    this.#item.classList.add('chosen');
    add(this.#head, 'span', 'badge use', PAGE.used);
  }

  #soFar({ streams }: Evidence, nowMs: number): string {
    const stream = streams.find((one) => one.carrier === this.carrier);
    if (!stream) return PAGE.asking;
    if (stream.arrivals.length === 0) return PAGE.unproven;
    const due = Math.min(stream.seconds + 2, 2 + Math.floor(nowMs / 1000));
    return PAGE.listening(stream.arrivals.length, Math.max(due, stream.arrivals.length));
  }
}

function add(parent: HTMLElement, name: string, kind: string, text?: string): HTMLElement {
  const element = document.createElement(name);
  if (kind !== '') element.className = kind;
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}
