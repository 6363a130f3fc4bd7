// Lines over time. They are SVG with the page's own colours; what they show is also there as words and a table.

import { html, useState } from './ui.js';
import { clock } from './format.js';

/** The rows of the table beside a chart. */
const ROWS = 12;

/** Samples of the last while: a ring that forgets the oldest. */
export class Ring {
  constructor(most) {
    this.most = most;
    this.samples = [];
    this.added = 0;
  }

  add(sample) {
    this.added += 1;
    this.samples.push(sample);
    if (this.samples.length > this.most) this.samples.shift();
  }
}

/** A round figure that is not below `value`; of bytes, a power of two. */
function above(value, isBytes) {
  if (!(value > 0)) return 1;
  if (isBytes) return 2 ** Math.ceil(Math.log2(value));
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * step).find((round) => round >= value);
}

/** What the second and the third line are drawn with, if they do not say. */
const TONES = ['line-accent', 'line-quiet', 'line-dotted'];

/**
 * A chart of `lines`, each `{name, of(sample)}`, over `samples` with their time in `at`. One that is `bad` is
 * drawn so. `limit(sample)` draws a dashed line of what is allowed.
 */
export function Chart({ title, samples, lines, show, limit, isBytes }) {
  const tone = (line, number) => line.bad ? 'line-bad' : TONES[number];
  const [place, setPlace] = useState(null);
  const width = Math.max(samples.length - 1, 1);
  const at = samples[place ?? samples.length - 1];
  const allowed = limit && at ? limit(at) : null;
  const values = lines.flatMap((line) => samples.map(line.of));
  const top = above(Math.max(0, allowed ?? 0, ...values.filter((value) => value != null)), isBytes);
  const y = (value) => 100 - value / top * 100;
  const points = (line) => samples.flatMap((sample, x) => line.of(sample) == null ? [] : [`${x},${y(line.of(sample))}`]);
  const area = points(lines[0]);
  const words = at ? lines.map((line) => `${line.name} ${show(line.of(at))}`).join(', ') : 'no samples yet';
  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    setPlace(Math.max(0, Math.min(samples.length - 1, Math.round((event.clientX - box.left) / box.width * width))));
  };
  return html`<figure class="chart">
    <figcaption><b>${title}</b>${lines.map((line, number) => html`<span class="key">
      <svg viewBox="0 0 16 8" aria-hidden="true"><line class=${tone(line, number)} x1="0" y1="4" x2="16" y2="4" /></svg>
      ${line.name} ${at ? show(line.of(at)) : '–'}</span>`)}
      ${place !== null && at && html`<span class="quiet small">${clock(at.at).slice(11)}</span>`}</figcaption>
    <div class="plot" role="img" aria-label=${`${title}: ${words}; at most ${show(top)} in the chart`}
      onPointerMove=${point} onPointerLeave=${() => setPlace(null)}>
      <svg viewBox=${`0 0 ${width} 100`} preserveAspectRatio="none" aria-hidden="true">
        ${allowed != null && html`<line x1="0" x2=${width} y1=${y(allowed)} y2=${y(allowed)} />`}
        ${area.length > 1 && html`<polygon class="area" points=${[...area, `${width},100`, `${area[0].split(',')[0]},100`].join(' ')} />`}
        ${lines.map((line, number) => html`<polyline class=${tone(line, number)} points=${points(line).join(' ')} />`)}
        ${place !== null && html`<line x1=${place} x2=${place} y1="0" y2="100" />`}
      </svg>
      <span class="top" aria-hidden="true">${show(top)}</span>
    </div>
    <div class="span" aria-hidden="true"><span>${samples[0] ? clock(samples[0].at).slice(11) : ''}</span><span>now</span></div>
    <details class="small"><summary>The last figures of ${title.toLowerCase()}</summary><table>
      <thead><tr><th scope="col">time</th>${lines.map((line) => html`<th scope="col" class="n">${line.name}</th>`)}</tr></thead>
      <tbody>${samples.slice(-ROWS).reverse().map((sample) => html`<tr><td>${clock(sample.at).slice(11)}</td>${
        lines.map((line) => html`<td class="n">${show(line.of(sample))}</td>`)}</tr>`)}</tbody></table></details>
  </figure>`;
}
