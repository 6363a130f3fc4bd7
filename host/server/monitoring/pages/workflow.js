// One workflow: its graph as it is worked, its nodes, and what can be done.

import { html, useState } from '../ui.js';
import { get, path, tell } from '../api.js';
import { count, duration } from '../format.js';
import { usePolled } from '../live.js';
import { Action, At, Choice, Facts, Head, Loaded, State, Table, When } from '../parts.js';
import { to } from '../address.js';
import { Graph } from '../graph.js';
import { Progress, ended } from './workflows.js';

const EVERY_MS = 1000;
/** How often a workflow is asked for that does not change by itself. */
const SELDOM_MS = 10_000;
const FINAL = ['completed', 'failed', 'cancelled'];
const MODES = ['failed', 'failed_and_downstream', 'all'];
const SIGNAL = 'signal:';
/** The nodes that are listed; the API has the others. */
const LISTED = 1000;

/** Why a node is where it is. */
function Why({ node }) {
  if (node.error) return html`<code>${node.error.kind}</code> <span class="small quiet">${node.error.message}</span>`;
  const waits = node.status === 'blocked' && (node.waits_for ?? (node.parents.length ? `nodes: ${node.parents.join(', ')}` : ''));
  return html`<span class="small quiet">${node.reason ?? (waits ? `waits for ${waits}` : '')}</span>`;
}

const took = (node) => node.started_at && node.finished_at
  ? duration(Date.parse(node.finished_at) - Date.parse(node.started_at)) : '–';

const NODES = [
  ['state', (node) => html`<${State} word=${node.label} />`, 'nw'],
  ['node', (node) => html`<a href=${to(`tasks/${node.task_id}`)}>${node.id}</a>`],
  ['why', (node) => html`<${Why} node=${node} />`, 'wide'],
  ['attempt', (node) => node.attempt, 'n wide'],
  ['took', took, 'n wide'],
  ['began', (node) => html`<${When} at=${node.started_at} />`, 'n'],
];

/** What can be done with a workflow as it is. */
function Actions({ of, again }) {
  const [mode, setMode] = useState(MODES[0]);
  const at = path('/v1/workflows', of.workflow_id);
  const change = (ask, done) => async () => {
    const told = await ask();
    again();
    return done(told);
  };
  if (FINAL.includes(of.status)) {
    const retry = change(() => tell('POST', `${at}/retry`, { mode }), (told) => `Run ${told.run} has begun`);
    return html`<div class="fields"><${Choice} label="Which nodes" value=${mode} words=${MODES} any=${null} onPick=${setMode} />
      <div class="field low"><${Action} name="Retry" run=${retry} /></div></div>`;
  }
  const isPaused = of.status === 'paused';
  const waiting = of.nodes.filter((node) => node.waits_for?.startsWith(SIGNAL)).map((node) => node.waits_for.slice(SIGNAL.length));
  const signal = (name) => change(() => tell('POST', path('/v1/workflows', of.workflow_id, 'signals', name), null), () => `${name} is given`);
  return html`<p class="actions">
    ${isPaused ? html`<${Action} name="Go on" run=${change(() => tell('POST', `${at}/resume`), () => 'It goes on')} />`
      : html`<${Action} name="Pause" run=${change(() => tell('POST', `${at}/pause`), () => 'No node of it begins')} />`}
    ${[...new Set(waiting)].map((name) => html`<${Action} key=${name} name=${`Signal ${name}`} run=${signal(name)} />`)}
    <${Action} name="Cancel the workflow" harm=${true} ask="Every node of it that is not final is cancelled."
      run=${change(() => tell('DELETE', at), (told) => `${count(told.cancelled + told.cancelling)} nodes are cancelled`)} /></p>`;
}

function Workflow({ it, again }) {
  const isStopping = it.stopping && !FINAL.includes(it.status);
  return html`<p class="lead"><${State} word=${it.status} /> · ${ended(it.counts)}${isStopping && '; no node begins any more'}</p>
    <${Progress} counts=${it.counts} />
    <${Actions} of=${it} again=${again} />
    <h2>Graph</h2><${Graph} workflow=${it} />
    <h2>Nodes</h2><${Table} label="Nodes" rows=${it.nodes.slice(0, LISTED)} id=${(node) => node.id} columns=${NODES} />
    ${it.nodes.length > LISTED && html`<p class="small quiet">These are the first ${count(LISTED)} of ${count(it.nodes.length)}.</p>`}
    <h2>Facts</h2><${Facts} of=${[
      ['id', html`<code>${it.workflow_id}</code>`], ['run', it.run], ['priority', it.priority],
      ['when a node fails', it.on_failure === 'stop' ? `no other begins${it.cancel_running ? ', and what runs is cancelled' : ''}` : 'the others go on'],
      ['submitted', html`<${At} at=${it.created_at} />`], it.finished_at && ['final', html`<${At} at=${it.finished_at} />`]]} />`;
}

function Page({ id }) {
  const [isBusy, setBusy] = useState(true);
  const found = usePolled(async (signal) => {
    const it = await get(path('/v1/workflows', id), {}, signal);
    setBusy(it.status === 'running');
    return it;
  }, isBusy ? EVERY_MS : SELDOM_MS, [id, isBusy]);
  return html`<${Head} title=${found.data?.name ?? 'Workflow'}><a class="button" href=${to('workflows')}>All workflows</a></${Head}>
    <${Loaded} of=${found}>${(it) => html`<${Workflow} it=${it} again=${found.again} />`}</${Loaded}>`;
}

export const workflowPage = { path: 'workflows/:id', of: 'workflows', Page };
