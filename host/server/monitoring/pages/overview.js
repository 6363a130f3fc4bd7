// How the host is at the moment: figures, lines of the last while, what runs and what failed.
// Its figures are counters and series that the host keeps; nothing is counted for this page.

import { html, useState } from '../ui.js';
import { get, send } from '../api.js';
import { bytes, count, duration, rate } from '../format.js';
import { usePolled } from '../live.js';
import { Empty, Head, Loaded, State, Table, When } from '../parts.js';
import { Chart, Ring } from '../chart.js';
import { total, value, metrics } from '../metrics.js';
import { to } from '../address.js';

const EVERY_MS = 5000;
const LISTS_EVERY_MS = 10_000;
/** Twenty minutes of samples. */
const SAMPLES = 240;
const LISTED = 6;
/** The percentiles that the host tells. */
const TOLD = ['p50', 'p95', 'p99'];
const RANGES = { '1h': 'the last hour', '24h': 'the last day' };

/** How many samples there are for each look at what seldom changes. */
const HEALTH_EVERY = 12;

/** What one look at the host gives; `admin` sees more. `before` is the sample before, and `number` its number. */
async function sample(admin, before, number, signal) {
  const at = Date.now();
  const isDue = !admin || !before || number % HEALTH_EVERY === 0;
  const figures = async () => metrics(await (await send('GET', '/metrics', { signal })).text());
  const [health, read] = await Promise.all([isDue ? get('/health', {}, signal) : before.health, admin && figures()]);
  if (!admin) return { at, depth: health.queue_depth, active: health.active_tasks, health };
  return {
    at,
    health,
    depth: (value(read, 'queue_tasks', { state: 'pending' }) ?? 0) + (value(read, 'queue_tasks', { state: 'blocked' }) ?? 0),
    active: value(read, 'active_attempts'),
    slots: value(read, 'slots'),
    failed: total(read, 'attempts_total', ({ kind }) => kind !== 'none'),
    completed: value(read, 'attempts_total', { kind: 'none' }) ?? 0,
    dead: value(read, 'tasks_dead_total'),
    memory: value(read, 'host_memory_bytes'),
    alerts: total(read, 'alert', () => true),
  };
}

/** The points of an answer, each as an object. */
function points(got) {
  const second = got.step_ms / 1000;
  const kinds = Object.entries(got.failed);
  return got.at.map((at, n) => ({
    at, active: got.active[n], slots: got.slots[n], pending: got.pending[n], memory: got.memory_bytes[n],
    completed: got.completed[n] / second, failed: kinds.reduce((sum, [, counts]) => sum + counts[n], 0) / second,
    kinds: Object.fromEntries(kinds.map(([kind, counts]) => [kind, counts[n]])),
    wait: TOLD.map((name) => got.wait_us[name][n]), run: TOLD.map((name) => got.run_us[name][n]),
  }));
}

/** What the host's figures were: the whole of `range` first, and then what is new. */
function useSeries(admin, range) {
  const [seen] = useState({});
  const [step, most] = range === '1h' ? ['5s', 720] : ['1m', 1440];
  return usePolled(async (signal) => {
    if (!admin) return null;
    if (seen.range !== range) Object.assign(seen, { range, rows: [] });
    const last = seen.rows.at(-1)?.at;
    const behind = last ? Math.max(20, Math.ceil((Date.now() - Date.parse(last)) / 1000) + 10) : Infinity;
    const isNear = behind < (range === '1h' ? 3600 : 86_400);
    const got = points(await get('/v1/stats/series', { range: isNear ? `${behind}s` : range, step }, signal));
    seen.rows = [...(isNear ? seen.rows : []), ...got.filter(({ at }) => !isNear || at > last)].slice(-most);
    return seen.rows;
  }, step === '5s' ? EVERY_MS : 60_000, [range]);
}

/** Lines of the kinds of failure that there were most of. */
function worst(rows) {
  const sums = {};
  for (const { kinds } of rows) for (const [kind, number] of Object.entries(kinds)) sums[kind] = (sums[kind] ?? 0) + number;
  const most = Object.entries(sums).sort((one, other) => other[1] - one[1]).slice(0, 3).map(([kind]) => kind);
  return most.length ? most.map((kind) => ({ name: kind.replaceAll('_', ' '), of: (row) => row.kinds[kind] ?? 0 })) : [{ name: 'none', of: () => 0 }];
}

const micros = (us) => us == null ? '–' : duration(us / 1000);
const percentiles = (of) => TOLD.map((name, place) => ({ name, of: (row) => row[of][place] }));

const Lines = ({ rows }) => html`<div class="charts">
  <${Chart} title="Ended a second" samples=${rows} show=${rate} lines=${[
    { name: 'completed', of: (row) => row.completed }, { name: 'failed', bad: true, of: (row) => row.failed }]} />
  <${Chart} title="Failures" samples=${rows} show=${count} lines=${worst(rows)} />
  <${Chart} title="Waiting for a claim" samples=${rows} show=${micros} lines=${percentiles('wait')} />
  <${Chart} title="Running" samples=${rows} show=${micros} lines=${percentiles('run')} />
  <${Chart} title="Slots" samples=${rows} show=${count} limit=${(row) => row.slots} lines=${[{ name: 'running', of: (row) => row.active }]} />
  <${Chart} title="Queue" samples=${rows} show=${count} lines=${[{ name: 'waiting', of: (row) => row.pending }]} />
  <${Chart} title="Memory" samples=${rows} show=${bytes} isBytes=${true} lines=${[{ name: 'of the host', of: (row) => row.memory }]} /></div>`;

/** How many a second there were of `name` between two samples. A host that began anew counts from nothing. */
function perSecond(now, before, name) {
  if (!before || now[name] == null || before[name] == null) return null;
  const seconds = (now.at - before.at) / 1000;
  return seconds > 0 ? Math.max(0, now[name] - before[name]) / seconds : null;
}

const Tile = ({ name, is, note }) => html`<div class="tile"><dt>${name}</dt><dd>${is}${note && html` <small>${note}</small>`}</dd></div>`;

const recent = (label, columns, of, empty) => html`<h2>${label}</h2><${Loaded} of=${of}>${(page) => page.items.length
  ? html`<${Table} label=${label} rows=${page.items} id=${(task) => task.task_id} columns=${columns} />`
  : html`<p class="quiet">${empty}</p>`}</${Loaded}>`;

const link = (task) => html`<a href=${to(`tasks/${task.task_id}`)}>${task.module}</a>`;

function Page({ who }) {
  const [ring] = useState(() => new Ring(SAMPLES));
  const now = usePolled(async (signal) => {
    const before = ring.samples.at(-1);
    const got = await sample(who.admin, before, ring.added, signal);
    for (const name of ['completed', 'failed']) got[`${name}_rate`] = perSecond(got, before, name);
    ring.add(got);
    return got;
  }, EVERY_MS, []);
  const list = (query) => (signal) => get('/v1/tasks', { limit: LISTED, ...query }, signal);
  const running = usePolled(list({ status: 'running' }), LISTS_EVERY_MS, []);
  const failed = usePolled(list({ status: 'failed' }), LISTS_EVERY_MS, []);
  const samples = ring.samples;
  const [range, setRange] = useState('1h');
  const series = useSeries(who.admin, range);
  return html`<${Head} title="Overview"><a class="button" href=${to('try')}>Try it</a><a class="button" href=${to('submit')}>Submit a task</a></${Head}>
    <${Loaded} of=${now}>${(got) => html`
      <p class="lead"><${State} word=${got.health.status === 'healthy' ? 'ready' : got.health.status} /> ·
        version ${got.health.version}, up for ${duration(got.health.uptime_seconds * 1000)}${
          got.alerts > 0 && html` · <a href=${to('alerts')}><${State} word="firing" /> ${count(got.alerts)} of its rules</a>`}</p>
      <dl class="tiles">
        <${Tile} name="waiting tasks" is=${count(got.depth)} note="of all tenants" />
        <${Tile} name="running here" is=${count(got.active)} note=${got.slots != null && `of ${count(got.slots)} slots`} />
        ${who.admin && html`<${Tile} name="completed a second" is=${rate(got.completed_rate)} note=${`${count(got.completed)} in all`} />
        <${Tile} name="failed a second" is=${rate(got.failed_rate)} note=${`${count(got.failed)} in all`} />
        <${Tile} name="dead letters" is=${count(got.dead)} note="since its start" />
        <${Tile} name="memory" is=${bytes(got.memory)} note="of the host" />`}
      </dl>
      ${!who.admin && html`<div class="charts">
        <${Chart} title="Queue" samples=${samples} show=${count} lines=${[{ name: 'waiting', of: (one) => one.depth }]} />
        <${Chart} title="Running here" samples=${samples} show=${count} lines=${[{ name: 'running', of: (one) => one.active }]} /></div>
        <p class="small quiet">Lines begin when this page opens and rest while it is hidden. A key with the scope admin shows more figures.</p>`}`}</${Loaded}>
    ${who.admin && html`<div class="tabs">${Object.entries(RANGES).map(([name, words]) => html`
        <button aria-pressed=${range === name} onClick=${() => setRange(name)}>${words}</button>`)}</div>
      <${Loaded} of=${series}>${(rows) => html`<${Lines} rows=${rows} />`}</${Loaded}>`}
    <div class="split">
      <section>${recent('Running', [['module', link], ['progress', (task) => task.progress_note || `${Math.round(task.progress * 100)} %`],
        ['since', (task) => html`<${When} at=${task.started_at} />`, 'nw']], running, 'Nothing runs at the moment.')}</section>
      <section>${recent('Failed last', [['module', link], ['why', (task) => task.error ? html`<code>${task.error.kind}</code>` : '–'],
        ['when', (task) => html`<${When} at=${task.finished_at} />`, 'nw']], failed, 'No task has failed that is still kept.')}</section>
    </div>
    ${running.data && failed.data && now.data?.completed === 0 && !running.data.items.length && !failed.data.items.length && html`
      <${Empty} title="Nothing has run on this host yet."
        command=${`curl -s ${location.origin}/v1/exec --json '{"language": "python", "code": "sum(range(10))"}'`}>
        Try some code on the page <a href=${to('try')}>Try it</a>, or from a shell:</${Empty}>`}`;
}

export const overviewPage = { path: '', name: 'Overview', group: 'Watch', go: 'o', Page };
