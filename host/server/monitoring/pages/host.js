// The host that answers: whether it takes work, what confines it, its interpreters, memory and disk.

import { html } from '../ui.js';
import { get, send } from '../api.js';
import { bytes, count, duration } from '../format.js';
import { metrics, total, value } from '../metrics.js';
import { usePolled } from '../live.js';
import { STATES } from '../tasklist.js';
import { Bar, Facts, Head, Loaded, State, Table } from '../parts.js';

const EVERY_MS = 10_000;

/** Whether it is ready, and if not, why: both are answers here. */
async function readiness(signal) {
  try {
    return await get('/readyz', {}, signal);
  } catch (error) {
    if (error.status !== 503) throw error;
    return { status: error.code, why: error.message };
  }
}

async function look(admin, signal) {
  const [ready, health, interpreters] = await Promise.all([
    readiness(signal), get('/health', {}, signal), get('/v1/interpreters', {}, signal)]);
  const figures = admin ? metrics(await (await send('GET', '/metrics', { signal })).text()) : null;
  return { ready, health, interpreters: interpreters.items, figures };
}

/** A layer of confinement; one that is not known yet is no failure. */
const layer = (is) => is === undefined ? html`<span class="quiet">not known yet</span>` : html`<${State} word=${is ? 'on' : 'off'} />`;

function Storage({ figures }) {
  const [budget, resident] = [value(figures, 'memory_budget_bytes'), value(figures, 'resident_memory_bytes')];
  const purposes = ['guests', 'compiles', 'bodies'];
  const asked = (outcome) => value(figures, 'cache_lookups_total', { outcome }) ?? 0;
  const told = (outcome) => value(figures, 'callbacks_total', { outcome }) ?? 0;
  return html`<h2>Memory</h2><div class="bars">
      ${purposes.map((purpose) => html`<${Bar} name=${purpose} most=${budget} show=${bytes}
        used=${value(figures, 'memory_taken_bytes', { purpose }) ?? 0} />`)}</div>
    <p class="small quiet">The process itself holds ${bytes(resident)}.</p>
    <h2>Disk</h2><${Facts} of=${[['free', bytes(value(figures, 'disk_free_bytes'))],
      ['inputs, artifacts and files of code', bytes(value(figures, 'files_bytes'))],
      ['takes work', html`<${State} word=${value(figures, 'disk_full') ? 'no_room' : 'on'} />`]]} />
    <h2>Results and callbacks</h2><${Facts} of=${[
      ...['memory', 'disk'].map((tier) => [`results kept ${tier === 'disk' ? 'on' : 'in'} ${tier}`,
        `${count(value(figures, 'cache_results', { tier }))}, ${bytes(value(figures, 'cache_bytes', { tier }))}`]),
      ['found again', `${count(asked('hit') + asked('joined'))} of ${count(total(figures, 'cache_lookups_total', () => true))} that asked`],
      ['callbacks', ['delivered', 'missed', 'given_up'].map((word) => `${count(told(word))} ${word.replace('_', ' ')}`).join(', ')],
      ['receivers held back', count(value(figures, 'callback_hosts_held'))]]} />
    <h2>Tasks in storage</h2><${Facts} of=${STATES.map((state) => [state, count(value(figures, 'queue_tasks', { state }))])} />
    <h2>Requests</h2><${Requests} figures=${figures} />`;
}

function Requests({ figures }) {
  const routes = [...new Set((figures.get('http_requests_total') ?? []).map(({ labels }) => labels.route))];
  const of = (route, status) => total(figures, 'http_requests_total', (labels) => labels.route === route && labels.status === status);
  const rows = routes.map((route) => ({ route, ok: of(route, '2xx'), theirs: of(route, '4xx'), ours: of(route, '5xx') }))
    .filter((row) => row.ok + row.theirs + row.ours > 0).sort((one, other) => other.ok - one.ok).slice(0, 20);
  return html`<${Table} label="Requests by route" rows=${rows} id=${(row) => row.route} columns=${[['route', (row) => html`<code>${row.route}</code>`],
    ['2xx', (row) => count(row.ok), 'n'], ['4xx', (row) => count(row.theirs), 'n'], ['5xx', (row) => count(row.ours), 'n']]} />`;
}

function Page({ who }) {
  const host = usePolled((signal) => look(who.admin, signal), EVERY_MS, []);
  return html`<${Head} title="This host" /><${Loaded} of=${host}>${({ ready, health, interpreters, figures }) => html`
    ${ready.why && html`<div class="note wrong" role="alert">
      <p><${State} word="error" /> It takes no work: ${ready.why}</p><p class="small quiet"><code>${ready.status}</code></p></div>`}
    <${Facts} of=${[['takes work', html`<${State} word=${ready.why ? 'error' : 'ready'} />`], ['version', health.version],
      ['up for', duration(health.uptime_seconds * 1000)],
      ['worker', html`<code>${health.worker_id}</code>`], ['capabilities', health.capabilities.join(', ')],
      figures && ['modules held back', count(value(figures, 'modules_held'))]]} />
    <h2>Interpreters</h2><${Table} label="Interpreters" rows=${interpreters} id=${(one) => one.language} columns=${[['language', (one) => one.language],
      ['state', (one) => html`<${State} word=${one.state} />`], ['version', (one) => one.version ?? '–'],
      ['packages', (one) => one.packages.slice(0, 50).join(', ') || '–', 'wide']]} />
    ${!ready.why && html`<h2>Confinement</h2><${Facts} of=${[
      ['the host: files and ports (Landlock)', layer(ready.confinement.landlock)], ['the host: system calls (seccomp)', layer(ready.confinement.seccomp)],
      ['guest processes', count(ready.guest_processes.live)], ['… their files (Landlock)', layer(ready.guest_processes.landlock)],
      ['… their system calls (seccomp)', layer(ready.guest_processes.seccomp)], ['… their own network and mounts', layer(ready.guest_processes.namespaces)],
      ['… whose guests compute without checks', count(ready.guest_processes.unchecked)]]} />`}
    ${figures ? html`<${Storage} figures=${figures} />`
      : html`<p class="quiet">A key with the scope admin shows memory, disk and requests as well.</p>`}`}</${Loaded}>`;
}

export const hostPage = { path: 'host', name: 'This host', group: 'Operate', go: 'h', Page };
