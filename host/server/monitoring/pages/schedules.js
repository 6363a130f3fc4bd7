// Schedules: tasks that the host submits again and again, and what came of the last instant of each.

import { html, useState } from '../ui.js';
import { get, path, send, tell } from '../api.js';
import { duration } from '../format.js';
import { usePolled } from '../live.js';
import { Action, Empty, Head, Loaded, State, Table, When } from '../parts.js';
import { Edit, saidOf } from '../edit.js';
import { to } from '../address.js';

const LIMIT = 50;
/** What the host says of a schedule besides what one can say of it. */
const TOLD = ['name', 'next', 'last', 'created_at', 'updated_at'];
const NEW = { cron: '0 3 * * *', time_zone: 'UTC', task: { module: '' }, catch_up: 'none', overlap: 'allow' };
const NAME = '[a-z0-9][a-z0-9._\\-]*';
const HINT = 'A cron pattern with its time zone, or every_ms; and a task as POST /v1/tasks takes it.';

const when = (schedule) => schedule.cron
  ? html`<code>${schedule.cron}</code> <span class="quiet">${schedule.time_zone}</span>` : `every ${duration(schedule.every_ms)}`;

const put = (name, said) => send('PUT', path('/v1/schedules', name), { json: said });

/** What came of the last instant. */
function Last({ of }) {
  if (!of) return html`<span class="quiet">–</span>`;
  return html`<${State} word=${of.outcome} /> ${of.task_id && html`<a href=${to(`tasks/${of.task_id}`)}><${When} at=${of.at} /></a>`}
    ${of.error && html`<span class="small quiet">${of.error}</span>`}`;
}

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const [edited, edit] = useState(null);
  const list = usePolled((signal) => get('/v1/schedules', { limit: LIMIT, cursor }, signal), 4000, [cursor]);
  const change = (ask, done) => async () => {
    await ask();
    list.again();
    return done;
  };
  const actions = (one) => {
    const at = path('/v1/schedules', one.name);
    const pause = () => put(one.name, { ...saidOf(one, TOLD), paused: !one.paused });
    return html`<span class="actions">
      <${Action} name="Run now" run=${change(() => tell('POST', `${at}/run`), `${one.name} has submitted its task`)} />
      <${Action} name=${one.paused ? 'Go on' : 'Pause'} run=${change(pause, one.paused ? `${one.name} goes on` : `${one.name} is paused`)} />
      <button onClick=${() => edit(one)} aria-label=${`Change ${one.name}`}>Change</button>
      <${Action} name="Remove" harm=${true} run=${change(() => send('DELETE', at), `${one.name} is gone`)}
        ask=${`${one.name} submits no more tasks. Those that it has submitted stay.`} /></span>`;
  };
  const done = () => { edit(null); list.again(); };
  return html`<${Head} title="Schedules"><button onClick=${() => edit({})}>Make a schedule</button></${Head}>
    ${edited && html`<${Edit} what="schedule" name=${edited.name} pattern=${NAME} hint=${HINT} put=${put}
      said=${edited.name ? saidOf(edited, TOLD) : NEW} onDone=${done} onClose=${() => edit(null)} />`}
    <${Loaded} of=${list}>${(page) => page.items.length === 0 && !cursor
      ? html`<${Empty} title="There is no schedule." command='cofferdam schedule put nightly MODULE --cron "0 3 * * *" --time-zone Europe/Berlin'>
        A schedule submits a task at each of its instants:</${Empty}>`
      : html`<${Table} label="Schedules" rows=${page.items} id=${(one) => one.name} columns=${[
        ['name', (one) => one.name], ['when', when], ['module', (one) => one.task.module, 'wide'],
        ['next', (one) => one.paused ? html`<${State} word="paused" />` : html`<${When} at=${one.next[0]} />`, 'nw'],
        ['last', (one) => html`<${Last} of=${one.last} />`, 'wide'], ['', actions, 'n']]} />
      <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('schedules')}>First</a>`}
        ${page.next_cursor && html`<a class="button" href=${to('schedules', { cursor: page.next_cursor })}>Next</a>`}</nav>`}</${Loaded}>`;
}

export const schedulesPage = { path: 'schedules', name: 'Schedules', group: 'Run', go: 'e', Page };
