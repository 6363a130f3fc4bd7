// The graph of a workflow: its nodes in columns, one for each level, and lines from those that others wait for.

import { html } from './ui.js';
import { Shape } from './parts.js';
import { to } from './address.js';

/** How many nodes are drawn; the table has all of them. */
export const DRAWN_MAX = 250;
const HIGH = 30;
const ACROSS = 32;
const DOWN = 12;
const LETTERS = 15;
/** How wide a letter is, and what of a node is no letter. */
const LETTER = 8;
const AROUND = 42;

/** Where each node is: columns are as wide as their longest name and as high as the highest, and the nodes of a
 *  column are in its middle. */
function places(levels) {
  const most = Math.max(...levels.map((level) => level.length));
  const found = new Map();
  let x = 0;
  for (const level of levels) {
    const wide = AROUND + LETTER * Math.max(...level.map((id) => cut(id).length));
    level.forEach((id, row) => found.set(id, { x, y: (row + (most - level.length) / 2) * (HIGH + DOWN), wide }));
    x += wide + ACROSS;
  }
  return { found, wide: x - ACROSS, high: most * (HIGH + DOWN) - DOWN };
}

const cut = (id) => id.length > LETTERS ? `${id.slice(0, LETTERS - 1)}…` : id;

function Line({ from, at }) {
  const [x, y, end, down] = [from.x + from.wide, from.y + HIGH / 2, at.x, at.y + HIGH / 2];
  const half = (x + end) / 2;
  return html`<path d=${`M${x} ${y}C${half} ${y} ${half} ${down} ${end} ${down}`} />`;
}

function Node({ node, at }) {
  return html`<a href=${to(`tasks/${node.task_id}`)} aria-label=${`${node.id}, ${node.label}`} class="node tone-${Shape.tone(node.label)}"
    transform=${`translate(${at.x} ${at.y})`}><title>${node.id}: ${node.label}</title>
    <rect width=${at.wide} height=${HIGH} rx="6" class=${node.status === 'blocked' ? 'waits' : ''} />
    <g class="shape" transform="translate(9 8) scale(.85)"><${Shape} word=${node.label} /></g>
    <text x="30" y="20">${cut(node.id)}</text></a>`;
}

/** The graph of `workflow`, as `GET /v1/workflows/{id}` has it. */
export function Graph({ workflow }) {
  const { levels, nodes } = workflow;
  if (nodes.length > DRAWN_MAX) return html`<p class="quiet">It has more nodes than a picture shows.</p>`;
  const { found, wide, high } = places(levels);
  const lines = nodes.flatMap((node) => node.parents.map((parent) => [found.get(parent), found.get(node.id)]));
  return html`<div class="scroll graph" tabindex="0" role="region" aria-label="The graph of the workflow">
    <svg width=${wide + 4} height=${high + 4} viewBox=${`-2 -2 ${wide + 4} ${high + 4}`}>
      <g class="lines">${lines.map(([from, at]) => from && at && html`<${Line} from=${from} at=${at} />`)}</g>
      ${nodes.map((node) => html`<${Node} key=${node.id} node=${node} at=${found.get(node.id)} />`)}</svg></div>`;
}
