// The audit trail: who changed what, from where, and how that ended.

import { html } from '../ui.js';
import { get } from '../api.js';
import { usePolled } from '../live.js';
import { Field, Head, Loaded, State, Table, When } from '../parts.js';
import { go, to } from '../address.js';

const LIMIT = 50;
const FILTERS = ['actor', 'action', 'tenant'];

function Page({ query }) {
  const asked = Object.fromEntries(FILTERS.map((name) => [name, query[name] ?? '']));
  const cursor = query.cursor ?? '';
  const list = usePolled((signal) => get('/v1/audit', { ...asked, limit: LIMIT, cursor }, signal), cursor ? 0 : 5000, [...Object.values(asked), cursor]);
  return html`<${Head} title="Audit" lead="What was changed, by whom, and what was refused. cofferdam audit verify checks that nothing of it was altered." />
    <div class="fields">${FILTERS.map((name) => html`<${Field} label=${name} value=${asked[name]}
      onChange=${(event) => go('audit', { ...asked, [name]: event.target.value })} />`)}</div>
    <${Loaded} of=${list}>${(page) => html`<${Table} label="Entries" rows=${page.items} id=${(one) => one.seq} columns=${[
      ['outcome', (one) => html`<${State} word=${one.outcome} />`, 'nw'], ['action', (one) => one.action.replaceAll('_', ' ')],
      ['of', (one) => html`<code>${one.resource}</code>`, 'wide'], ['by', (one) => html`<code>${one.actor}</code>`],
      ['from', (one) => one.from || '–', 'wide'], ['tenant', (one) => one.tenant, 'wide'], ['detail', (one) => one.detail || '–', 'wide'],
      ['times', (one) => one.count, 'n wide'], ['when', (one) => html`<${When} at=${one.at} />`, 'n']]} />
    <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('audit', asked)}>Newest</a>`}
      ${page.next_cursor && html`<a class="button" href=${to('audit', { ...asked, cursor: page.next_cursor })}>Older</a>`}</nav>`}</${Loaded}>`;
}

export const auditPage = { path: 'audit', name: 'Audit', group: 'Operate', go: 'q', admin: true, Page };
