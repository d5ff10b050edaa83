import type { PollTrace, StreamTrace } from './trace.ts';
import { PAGE } from './words.ts';

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 74;
const LABELS = 56;
const RIGHT = 10;
const SENT_Y = 16;
const ARRIVED_Y = 44;
const AXIS_Y = 60;
/** Of a long examination, and of a short one. */
const AXIS_STEP_S = { long: 5, short: 2 };
const LONG_MS = 12_000;

/** Draws a stream: above when each event was sent, below when it arrived, and a line between the two. */
export function drawStream(svg: SVGSVGElement, trace: StreamTrace, width: number, nowMs: number): void {
  const draw = begin(svg, width, trace.seconds * 1000);
  draw.label(SENT_Y, PAGE.sentRow);
  draw.label(ARRIVED_Y, PAGE.arrivedRow);
  const { answer, end } = trace;
  const isOurs = trace.arrivals.length > 0 || (answer ? answer.status === 200 : end?.how !== 'torn');
  const soonest = Math.min(...trace.arrivals.map(({ atMs, sentMs }) => atMs - sentMs));
  const offset = Number.isFinite(soonest) ? soonest : 0;
  const due = Math.min(trace.seconds * 1000, (trace.end?.atMs ?? nowMs) - offset);
  const arrived = new Map(trace.arrivals.map((arrival) => [arrival.n, arrival]));
  // What somebody else answered to, or nobody, was never sent.
  for (let n = 0; isOurs && n <= trace.seconds + 1; n++) {
    const sentMs = arrived.get(n)?.sentMs ?? (n < 2 ? n * 500 : (n - 1) * 1000);
    const arrival = arrived.get(n);
    if (!arrival && sentMs > due) continue;
    draw.dot(sentMs + offset, SENT_Y, arrival ? 'sent' : 'sent lost');
    if (!arrival) continue;
    draw.line(sentMs + offset, SENT_Y, arrival.atMs, ARRIVED_Y, 'path');
    draw.dot(arrival.atMs, ARRIVED_Y, 'arrived');
  }
  finish(draw, trace.end, trace.arrivals.length > 0, nowMs);
}

/** Draws polls, each from its question to its answer; where one was due and didn’t come, that shows. */
export function drawPolls(
  svg: SVGSVGElement,
  polls: readonly PollTrace[],
  width: number,
  nowMs: number,
  spanMs: number,
): void {
  const draw = begin(svg, width, spanMs);
  const lanes = polls.length > 1 && polls.some(({ waitMs }) => waitMs > 0);
  polls.forEach((poll, i) => {
    const y = lanes ? SENT_Y + (i * (ARRIVED_Y - SENT_Y)) / (polls.length - 1) : (SENT_Y + ARRIVED_Y) / 2;
    if (lanes) draw.label(y, rowOf(poll, polls));
    else if (i === 0) draw.label(y, PAGE.pollRows.atOnce);
    if (poll.startedMs === undefined) return;
    const endMs = poll.startedMs + (poll.end?.atMs ?? Math.max(0, nowMs - poll.startedMs));
    draw.line(poll.startedMs, y, endMs, y, 'wait');
    draw.dot(poll.startedMs, y, 'sent');
    for (const atMs of poll.piecesAtMs) draw.dot(poll.startedMs + atMs, y, 'drip');
    if (!poll.end) return;
    if (poll.isGenuine) draw.dot(endMs, y, 'arrived');
    else draw.cross(endMs, y);
  });
}

function rowOf({ isDripping, waitMs }: PollTrace, polls: readonly PollTrace[]): string {
  const { plain, dripping, short } = PAGE.pollRows;
  if (isDripping) return dripping;
  return waitMs < Math.max(...polls.map((poll) => poll.waitMs)) ? short : plain;
}

interface Pen {
  label(y: number, text: string): void;
  dot(ms: number, y: number, kind: string): void;
  line(fromMs: number, fromY: number, toMs: number, toY: number, kind: string): void;
  cross(ms: number, y: number): void;
}

function begin(svg: SVGSVGElement, width: number, lastsMs: number): Pen {
  while (svg.firstChild) svg.removeChild(svg.firstChild);
  const spanMs = lastsMs + 4000;
  const x = (ms: number) => LABELS + (Math.min(ms, spanMs) / spanMs) * (width - LABELS - RIGHT);
  const add = (name: string, kind: string, attributes: Record<string, number | string>, text?: string) => {
    const element = document.createElementNS(SVG, name);
    element.setAttribute('class', kind);
    for (const key of Object.keys(attributes)) element.setAttribute(key, String(attributes[key]));
    if (text !== undefined) element.textContent = text;
    svg.appendChild(element);
  };
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute('width', String(width));
  svg.setAttribute('height', String(HEIGHT));
  const step = lastsMs > LONG_MS ? AXIS_STEP_S.long : AXIS_STEP_S.short;
  for (let s = 0; s * 1000 <= lastsMs; s += step) {
    add('line', 'grid', { x1: x(s * 1000), y1: 6, x2: x(s * 1000), y2: AXIS_Y - 4 });
    add('text', 'tick', { x: x(s * 1000), y: AXIS_Y + 9, 'text-anchor': 'middle' }, `${s} s`);
  }
  const line: Pen['line'] = (fromMs, fromY, toMs, toY, kind) =>
    add('line', kind, { x1: x(fromMs), y1: fromY, x2: x(toMs), y2: toY });
  return {
    line,
    label: (y, text) => add('text', 'label', { x: 0, y: y + 4 }, text),
    dot: (ms, y, kind) => add('circle', kind, { cx: x(ms), cy: y, r: kind === 'drip' ? 1.5 : 3 }),
    cross: (ms, y) => {
      const at = x(ms);
      add('path', 'cross', { d: `M${at - 4} ${y - 4}l8 8m0 -8l-8 8` });
    },
  };
}

function finish(draw: Pen, end: StreamTrace['end'], hasArrived: boolean, nowMs: number): void {
  if (!end) draw.line(nowMs, 6, nowMs, AXIS_Y - 4, 'now');
  else if (end.how !== 'clean' || !hasArrived) draw.cross(end.atMs, ARRIVED_Y);
}
