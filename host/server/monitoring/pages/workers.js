// The hosts that share the storage: how they are, and which of them take no more tasks.

import { html } from '../ui.js';
import { get, path, tell } from '../api.js';
import { duration } from '../format.js';
import { usePolled } from '../live.js';
import { Action, Head, Loaded, State, Table, When } from '../parts.js';
import { to } from '../address.js';

const LIMIT = 50;

function Drain({ worker, again }) {
  const ask = (method, done) => async () => {
    await tell(method, path('/v1/workers', worker.id, 'drain'));
    again();
    return done;
  };
  if (worker.state === 'terminated') return null;
  return worker.drain_requested
    ? html`<${Action} name="Take tasks again" run=${ask('DELETE', `${worker.name} takes tasks again`)} />`
    : html`<${Action} name="Drain" run=${ask('POST', `${worker.name} takes no more tasks`)}
        ask=${`${worker.name} gives back what it has not begun and finishes what it runs. It goes on answering, and it can be undone.`} />`;
}

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const list = usePolled((signal) => get('/v1/workers', { limit: LIMIT, cursor }, signal), 3000, [cursor]);
  return html`<${Head} title="Workers" lead="Hosts that share this one's storage. One that has ended is listed for another hour." />
    <${Loaded} of=${list}>${(page) => html`<${Table} label="Workers" rows=${page.items} id=${(one) => one.id} columns=${[
      ['state', (one) => html`<${State} word=${one.state} />`, 'nw'],
      ['name', (one) => html`${one.name}${one.answers && html` <span class="quiet">(this one)</span>`}<br /><code class="quiet">${one.id.slice(0, 8)}</code>`],
      ['runs', (one) => `${one.load} of ${one.slots}`, 'n'],
      ['heard', (one) => `${duration(one.heartbeat_age_ms)} ago`, 'n wide'],
      ['has', (one) => [...one.capabilities, ...one.groups.map((group) => `group:${group}`)].join(', '), 'wide'],
      ['address', (one) => one.address ?? '–', 'wide'], ['version', (one) => one.version, 'wide'],
      ['since', (one) => html`<${When} at=${one.started_at} />`, 'n wide'],
      ['', (one) => html`<${Drain} worker=${one} again=${list.again} />`, 'n']]} />
    <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('workers')}>First</a>`}
      ${page.next_cursor && html`<a class="button" href=${to('workers', { cursor: page.next_cursor })}>Next</a>`}</nav>`}</${Loaded}>`;
}

export const workersPage = { path: 'workers', name: 'Workers', group: 'Operate', go: 'w', admin: true, Page };
