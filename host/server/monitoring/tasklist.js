// A window on the list of tasks: a filter from the address, one page of it, and changes of all that it finds.

import { html, useState } from './ui.js';
import { get, tell } from './api.js';
import { count, duration, short } from './format.js';
import { usePolled } from './live.js';
import { Action, Choice, Empty, Field, Loaded, State, Table, When } from './parts.js';
import { go, to } from './address.js';

const LIMIT = 50;
const EVERY_MS = 4000;
export const STATES = ['blocked', 'pending', 'running', 'completed', 'failed', 'cancelled'];
const LABELS = ['scheduled', 'retrying', 'cancelling', 'dead'];
const KINDS = ['guest_error', 'invalid_input', 'timeout', 'cpu_exhausted', 'fuel_exhausted', 'memory_exceeded',
  'stack_overflow', 'host_resources_exceeded', 'disk_exceeded', 'output_exceeded', 'trap', 'exit', 'cancelled', 'lost', 'host_error'];
export const PRIORITIES = ['critical', 'high', 'normal', 'low'];
const NAMES = ['status', 'label', 'error_kind', 'module', 'priority', 'tenant'];

/** What the API calls the filter of the address. */
function filterOf(query) {
  const filter = {};
  for (const name of NAMES) if (query[name]) filter[name] = query[name];
  const [key, ...rest] = (query.metadata ?? '').split('=');
  if (key.trim() && rest.length) filter[`metadata.${key.trim()}`] = rest.join('=').trim();
  return filter;
}

/** How long a task has run, or ran. */
const ran = (task) => task.finished_at && task.usage ? duration(task.usage.duration_us / 1000)
  : task.started_at && task.status === 'running' ? duration(Math.max(0, Date.now() - Date.parse(task.started_at))) : '–';

/** The columns; tasks of another tenant are listed, but cannot be opened. */
const columns = (isForeign) => [
  ['state', (task) => html`<${State} word=${task.label} />`, 'nw'],
  ['task', (task) => isForeign ? task.module
    : html`<a href=${to(`tasks/${task.task_id}`)} aria-label=${`${task.module}, task ${short(task.task_id)}`}>${task.module}</a>`],
  ['id', (task) => html`<span class="mono quiet">${short(task.task_id)}</span>`, 'nw wide'],
  ['why, or how far', (task) => task.error ? html`<code>${task.error.kind}</code>`
    : task.progress_note || (task.status === 'running' ? `${Math.round(task.progress * 100)} %` : ''), 'wide'],
  ['priority', (task) => task.priority, 'wide'],
  ['attempt', (task) => `${task.attempt} of ${task.max_attempts}`, 'n wide'],
  ['took', ran, 'n wide'],
  ['submitted', (task) => html`<${When} at=${task.created_at} />`, 'n'],
];

/** Counts what a change would meet, and makes it once somebody has seen the number. */
function Bulk({ name, verb, path, filter }) {
  const [found, setFound] = useState(null);
  const look = async () => {
    const { matches } = await tell('POST', path, { filter });
    setFound(matches);
    return `${count(matches)} tasks match`;
  };
  const change = async () => {
    const { matches } = await tell('POST', path, { filter, expect: found });
    setFound(null);
    return `${count(matches)} tasks ${verb}`;
  };
  if (found === null) return html`<${Action} name=${`${name} all that match …`} run=${look} />`;
  if (found === 0) return html`<span class="quiet small">none of these can be ${verb}</span> <button onClick=${() => setFound(null)}>Back</button>`;
  return html`<${Action} name=${`${name} ${count(found)} tasks`} harm=${true} run=${change}
    ask=${`${count(found)} tasks match the filter, on all pages of the list. They are changed in the background; if more match by then, none is.`} />
    <button onClick=${() => setFound(null)}>Back</button>`;
}

function Filter({ query, path, admin, fixed }) {
  const pick = (name) => (value) => go(path, { ...query, [name]: value, cursor: '' });
  const typed = (name) => ({ value: query[name] ?? '', onChange: (event) => pick(name)(event.target.value.trim()) });
  return html`<form class="fields" role="search" aria-label="Which tasks" onSubmit=${(event) => event.preventDefault()}>
    ${!fixed && html`<${Choice} label="State" value=${query.status ?? ''} words=${STATES} onPick=${pick('status')} />
    <${Choice} label="Label" value=${query.label ?? ''} words=${LABELS} onPick=${pick('label')} />`}
    <${Choice} label="Kind of failure" value=${query.error_kind ?? ''} words=${KINDS} onPick=${pick('error_kind')} />
    <${Choice} label="Priority" value=${query.priority ?? ''} words=${PRIORITIES} onPick=${pick('priority')} />
    <${Field} label="Module" ...${typed('module')} placeholder="its name" />
    <${Field} label="Metadata" ...${typed('metadata')} placeholder="key=value" />
    ${admin && html`<${Field} label="Tenant" ...${typed('tenant')} placeholder="your own" />`}
  </form>`;
}

/** The list at `path` with the filter of `query`; `fixed` is a part of the filter that does not change. */
export function TaskList({ path, query, admin, fixed = null, empty }) {
  const filter = { ...filterOf(query), ...fixed };
  const cursor = query.cursor ?? '';
  const inputs = JSON.stringify([filter, cursor]);
  const list = usePolled((signal) => get('/v1/tasks', { ...filter, cursor, limit: LIMIT }, signal), cursor ? 0 : EVERY_MS, [inputs]);
  const { tenant, ...own } = filter;
  const isFiltered = Object.keys(filter).length > 0;
  return html`<${Filter} query=${query} path=${path} admin=${admin} fixed=${fixed} />
    <${Loaded} of=${list}>${(page) => html`
      ${page.items.length > 0 && html`<${Table} label="Tasks" rows=${page.items} columns=${columns(tenant)} id=${(task) => task.task_id} />`}
      ${!page.items.length && page.next_cursor && html`<p class="quiet">None so far; the search goes on with the older ones.</p>`}
      ${!page.items.length && !page.next_cursor && (cursor ? html`<p class="quiet">There are no older ones.</p>` : isFiltered && !fixed
        ? html`<${Empty} title="No task is like that."><a href=${to(path)}>All tasks</a></${Empty}>` : empty)}
      <nav class="pager" aria-label="Pages of the list">
        ${cursor && html`<a class="button" href=${to(path, { ...query, cursor: '' })}>Newest</a>`}
        ${page.next_cursor && html`<a class="button" href=${to(path, { ...query, cursor: page.next_cursor })}>Older</a>`}
        <span class="quiet small">${cursor ? 'an older page, as it was when you came' : 'the newest, live'}</span>
      </nav>
      ${page.items.length > 0 && !tenant && html`<div class="pager" key=${inputs}>
        <${Bulk} name="Retry" verb="retried" path="/v1/tasks/retry" filter=${own} />
        <${Bulk} name="Cancel" verb="cancelled" path="/v1/tasks/cancel" filter=${own} /></div>`}`}</${Loaded}>`;
}
