// Workflows, newest first, and a new one from what one says of it.

import { html, useState } from '../ui.js';
import { get, tell } from '../api.js';
import { count, short } from '../format.js';
import { usePolled } from '../live.js';
import { Choice, Empty, Head, Loaded, State, Table, When } from '../parts.js';
import { Edit } from '../edit.js';
import { go, to } from '../address.js';

const LIMIT = 50;
const EVERY_MS = 4000;
const STATES = ['running', 'paused', 'completed', 'failed', 'cancelled'];
const NEW = { nodes: [{ id: 'first', module: '' }, { id: 'second', module: '', input: { $from: 'first' } }], edges: [['first', 'second']] };
const HINT = 'Nodes, each with a module or a script, and edges between them, as POST /v1/workflows takes them.';

/** How many of a workflow's nodes have ended, in words. */
export function ended({ nodes, open, failed }) {
  return `${count(nodes - open)} of ${count(nodes)} nodes have ended${failed ? `, ${count(failed)} of them failed` : ''}`;
}

/** The same as a bar; those that failed are its last part. */
export function Progress({ counts }) {
  const { nodes, open, failed } = counts;
  const part = (number) => ({ width: `${number / Math.max(nodes, 1) * 100}%` });
  return html`<div class="bar" role="img" aria-label=${ended(counts)} title=${ended(counts)}>
    <i style=${part(nodes - open - failed)}></i><i class="high" style=${part(failed)}></i></div>`;
}

/** Submits a workflow, and goes to it. */
async function submit(_name, said) {
  const { workflow_id } = await tell('POST', '/v1/workflows', said);
  go(`workflows/${workflow_id}`);
}

function Page({ query }) {
  const [isNew, setNew] = useState(false);
  const [status, cursor] = [query.status ?? '', query.cursor ?? ''];
  const list = usePolled((signal) => get('/v1/workflows', { status, cursor, limit: LIMIT }, signal), cursor ? 0 : EVERY_MS, [status, cursor]);
  return html`<${Head} title="Workflows"><button onClick=${() => setNew(true)}>Submit a workflow</button></${Head}>
    ${isNew && html`<${Edit} what="workflow" said=${NEW} hint=${HINT} put=${submit} onClose=${() => setNew(false)} />`}
    <form class="fields" role="search" aria-label="Which workflows" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="State" value=${status} words=${STATES} onPick=${(word) => go('workflows', { status: word })} /></form>
    <${Loaded} of=${list}>${(page) => page.items.length === 0 && !cursor
      ? html`<${Empty} title=${status ? 'No workflow is like that.' : 'There is no workflow.'} command="cofferdam workflow submit workflow.json">
        A workflow is tasks that wait for each other:</${Empty}>`
      : html`<${Table} label="Workflows" rows=${page.items} id=${(one) => one.workflow_id} columns=${[
        ['state', (one) => html`<${State} word=${one.status} />`, 'nw'],
        ['workflow', (one) => html`<a href=${to(`workflows/${one.workflow_id}`)}>${one.name ?? short(one.workflow_id)}</a>`],
        ['nodes', (one) => html`<${Progress} counts=${one.counts} />`],
        ['ended', (one) => `${count(one.counts.nodes - one.counts.open)} of ${count(one.counts.nodes)}`, 'n'],
        ['failed', (one) => count(one.counts.failed), 'n wide'], ['run', (one) => one.run, 'n wide'],
        ['submitted', (one) => html`<${When} at=${one.created_at} />`, 'n']]} />
      <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('workflows', { status })}>Newest</a>`}
        ${page.next_cursor && html`<a class="button" href=${to('workflows', { status, cursor: page.next_cursor })}>Older</a>`}</nav>`}</${Loaded}>`;
}

export const workflowsPage = { path: 'workflows', name: 'Workflows', group: 'Watch', go: 'f', Page };
