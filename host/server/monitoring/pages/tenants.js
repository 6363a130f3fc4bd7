// Tenants: those who share a host, and what holds for each.

import { html, useState } from '../ui.js';
import { get, path, send } from '../api.js';
import { bytes, count } from '../format.js';
import { usePolled } from '../live.js';
import { Action, Head, Loaded, Table, When } from '../parts.js';
import { Edit, saidOf } from '../edit.js';
import { to } from '../address.js';

const LIMIT = 50;
const NAME = '[a-z0-9][a-z0-9_\\-]*';
/** What the host says of a tenant besides what one can say of it. */
const TOLD = ['name', 'created_at'];
const HINT = 'What is left out has no bound but the host\'s own. The members are those of PUT /v1/tenants in the API document.';

const bounds = (tenant) => [
  tenant.pending_max != null && `${count(tenant.pending_max)} tasks waiting`, tenant.running_max != null && `${count(tenant.running_max)} running`,
  tenant.sessions_max != null && `${count(tenant.sessions_max)} sessions`, tenant.storage_bytes != null && bytes(tenant.storage_bytes),
].filter(Boolean).join(', ') || 'no bound';

const ceilings = (tenant) => Object.entries(tenant.ceilings).filter(([, value]) => value !== null)
  .map(([name, value]) => `${name} ${value}`).join(', ') || 'the host’s';

/** What can be said of a tenant, without what is not said. */
function rules(tenant) {
  const said = saidOf(tenant, TOLD);
  return { ...said, ...(said.ceilings && { ceilings: saidOf(said.ceilings, []) }) };
}

const put = (name, said) => send('PUT', path('/v1/tenants', name), { json: said });

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const [edited, edit] = useState(null);
  const list = usePolled((signal) => get('/v1/tenants', { limit: LIMIT, cursor }, signal), 15_000, [cursor]);
  const remove = (tenant) => async () => {
    await send('DELETE', path('/v1/tenants', tenant.name));
    list.again();
    return `${tenant.name} is gone`;
  };
  const done = () => { edit(null); list.again(); };
  return html`<${Head} title="Tenants"><button onClick=${() => edit({})}>Make a tenant</button></${Head}>
    ${edited && html`<${Edit} what="tenant" name=${edited.name} pattern=${NAME} hint=${HINT} put=${put}
      said=${edited.name ? rules(edited) : { weight: 1 }} onDone=${done} onClose=${() => edit(null)} />`}
    <${Loaded} of=${list}>${(page) => html`<${Table} label="Tenants" rows=${page.items} id=${(one) => one.name} columns=${[
      ['name', (one) => one.name], ['weight', (one) => one.weight, 'n'], ['may have', (one) => bounds(one), 'wide'],
      ['rate', (one) => one.rate ?? '–', 'wide'], ['ceilings', (one) => ceilings(one), 'wide'],
      ['other machines', (one) => one.egress?.join(', ') ?? 'the host’s', 'wide'],
      ['directories', (one) => one.dirs?.join(', ') ?? 'all', 'wide'], ['made', (one) => html`<${When} at=${one.created_at} />`, 'n wide'],
      ['', (one) => html`<span class="actions"><a class="button" href=${to('tasks', { tenant: one.name })}>Tasks</a>
        <button onClick=${() => edit(one)} aria-label=${`Change ${one.name}`}>Change</button>
        ${one.name !== 'default' && html`<${Action} name="Remove" harm=${true} run=${remove(one)}
          ask=${`${one.name} is removed, if it has no live key, no task and no module.`} />`}</span>`, 'n']]} />
      <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('tenants')}>First</a>`}
        ${page.next_cursor && html`<a class="button" href=${to('tenants', { cursor: page.next_cursor })}>Next</a>`}</nav>`}</${Loaded}>`;
}

export const tenantsPage = { path: 'tenants', name: 'Tenants', group: 'Operate', go: 'n', admin: true, Page };
