// Curves as an SVG: small panels, each with its own axes; x is logarithmic where it is asked for, y begins at 0.
const PANEL = { width: 380, height: 250, left: 68, right: 18, top: 34, bottom: 46 };
const COLUMNS = 3;
const TICKS = 4;

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const short = (value) => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(3))}k`;
  return `${Number(value.toPrecision(3))}`;
};

/** A round number that is at least `value`, and can be divided by the number of ticks. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

function panel({ title, xLabel, yLabel, isLog, lines }, index) {
  const { width, height, left, right, top, bottom } = PANEL;
  const all = lines.flatMap(({ points }) => points);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const scale = isLog ? Math.log10 : (x) => x;
  const [from, to] = [scale(xs[0]), scale(xs.at(-1))];
  const topValue = roundUp(Math.max(...all.map(([, y]) => y)));
  const xOf = (x) => left + ((scale(x) - from) / (to - from || 1)) * (width - left - right);
  const yOf = (y) => height - bottom - (y / topValue) * (height - top - bottom);
  const parts = [`<text class="title" x="${left}" y="20">${escaped(title)}</text>`];
  for (let i = 0; i <= TICKS; i++) {
    const value = (topValue * i) / TICKS;
    const y = yOf(value).toFixed(1);
    parts.push(`<path class="grid" d="M${left} ${y}H${width - right}"/>`);
    parts.push(`<text class="tick" text-anchor="end" x="${left - 6}" y="${y}" dy="4">${short(value)}</text>`);
  }
  const marks = isLog
    ? xs
    : Array.from({ length: TICKS + 1 }, (_, i) => xs[0] + ((xs.at(-1) - xs[0]) * i) / TICKS);
  for (const x of marks) {
    const at = xOf(x).toFixed(1);
    parts.push(
      `<text class="tick" text-anchor="middle" x="${at}" y="${height - bottom + 16}">${short(x)}</text>`,
    );
  }
  parts.push(
    `<text class="label" text-anchor="middle" x="${(left + width - right) / 2}" y="${height - 10}">${escaped(xLabel)}</text>`,
    `<text class="label" text-anchor="middle" transform="translate(14 ${(top + height - bottom) / 2}) rotate(-90)">${escaped(yLabel)}</text>`,
  );
  for (const { points } of lines) {
    const at = points.map(([x, y]) => `${xOf(x).toFixed(1)} ${yOf(y).toFixed(1)}`);
    parts.push(`<path class="line" d="M${at.join('L')}"/>`);
    if (isLog)
      for (const [x, y] of points)
        parts.push(`<circle cx="${xOf(x).toFixed(1)}" cy="${yOf(y).toFixed(1)}" r="3"/>`);
  }
  const [column, line] = [index % COLUMNS, Math.floor(index / COLUMNS)];
  return `<g transform="translate(${column * width} ${line * height})">${parts.join('\n')}</g>`;
}

/** Draws plots (see Measuring) into one SVG. */
export function svgOf(plots) {
  const width = PANEL.width * Math.min(COLUMNS, plots.length);
  const height = PANEL.height * Math.ceil(plots.length / COLUMNS);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>${escaped(plots.map(({ title }) => title).join('; '))}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #333; }
.title { font-weight: 600; }
.tick { font-size: 11px; fill: #666; }
.grid { stroke: #ddd; }
.line { fill: none; stroke: #1f6feb; stroke-width: 2; }
circle { fill: #1f6feb; }
</style>
<rect width="100%" height="100%" fill="#fff"/>
${plots.map(panel).join('\n')}
</svg>
`;
}
