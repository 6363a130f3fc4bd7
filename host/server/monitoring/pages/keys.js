// API keys: who has which, making one, replacing one, revoking one. A secret is shown once, and kept nowhere.

import { html, useState } from '../ui.js';
import { get, path, send, tell } from '../api.js';
import { usePolled } from '../live.js';
import { Action, Check, Copy, Empty, Field, Head, Loaded, State, Table, When, Wrong } from '../parts.js';
import { to } from '../address.js';

const LIMIT = 50;
const SCOPES = { run: 'run code, submit and cancel', read: 'read', modules: 'put and remove modules', admin: 'keys, tenants, workers, metrics' };

/** A whole key, until it is put away. */
const Made = ({ made, onDone }) => html`<div class="note right" role="alert">
  <p><strong>The key of ${made.name}</strong>. It is shown only now; keep it where secrets are kept.</p>
  <pre tabindex="0" role="region" aria-label="The new key">${made.key}</pre>
  <p class="actions"><${Copy} text=${made.key} /><button onClick=${onDone}>Put it away</button></p></div>`;

function Make({ isFirst, onMade }) {
  const [asked, set] = useState({ name: '', tenant: 'default', days: '', rate: '' });
  const [scopes, setScopes] = useState(isFirst ? Object.keys(SCOPES) : ['run', 'read']);
  const [error, setError] = useState(null);
  const typed = (name) => ({ value: asked[name], onInput: (event) => set({ ...asked, [name]: event.target.value }) });
  const make = async (event) => {
    event.preventDefault();
    setError(null);
    const ends = asked.days === '' ? {} : { expires_at: new Date(Date.now() + Number(asked.days) * 86_400_000).toISOString() };
    const rate = asked.rate.trim() === '' ? {} : { rate: asked.rate.trim() };
    try {
      onMade(await tell('POST', '/v1/keys', { name: asked.name, tenant: asked.tenant, scopes, ...ends, ...rate }));
      set({ ...asked, name: '' });
    } catch (failure) {
      setError(failure);
    }
  };
  const swap = (scope) => setScopes(scopes.includes(scope) ? scopes.filter((one) => one !== scope) : [...scopes, scope]);
  return html`<details open=${isFirst}><summary>Make a key</summary><form onSubmit=${make}>
    <div class="fields"><${Field} label="Name" required maxlength="128" ...${typed('name')} /><${Field} label="Tenant" required ...${typed('tenant')} />
      <${Field} label="Ends after days" type="number" min="1" ...${typed('days')} placeholder="never" />
      <${Field} label="Rate" ...${typed('rate')} placeholder="10/second" /></div>
    <fieldset><legend>What it may do</legend>${Object.entries(SCOPES).map(([scope, means]) => html`
      <${Check} label=${`${scope}: ${means}`} checked=${scopes.includes(scope)} onChange=${() => swap(scope)} />`)}</fieldset>
    ${isFirst && html`<p class="quiet">From the first key on every request needs one, so the first is an administrator's. This page then asks you for it.</p>`}
    ${error && html`<${Wrong} error=${error} />`}
    <p><button class="main" disabled=${scopes.length === 0}>Make the key</button></p></form></details>`;
}

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const [made, setMade] = useState(null);
  const list = usePolled((signal) => made ? Promise.resolve(list.data) : get('/v1/keys', { limit: LIMIT, cursor }, signal), 10_000, [cursor, made]);
  const revoke = (key) => async () => {
    await send('DELETE', path('/v1/keys', key.id));
    list.again();
    return `${key.name} opens nothing any more`;
  };
  const rotate = (key) => async () => {
    setMade(await tell('POST', path('/v1/keys', key.id, 'rotate')));
    return `${key.name} has a new key; the old one goes on for an hour`;
  };
  return html`<${Head} title="Keys" />
    ${made && html`<${Made} made=${made} onDone=${() => setMade(null)} />`}
    <${Loaded} of=${list}>${(page) => html`<${Make} key=${page.items.length === 0} isFirst=${page.items.length === 0 && !cursor} onMade=${setMade} />
      ${page.items.length ? html`<${Table} label="Keys" rows=${page.items} id=${(one) => one.id} columns=${[
        ['state', (one) => html`<${State} word=${one.state} />`, 'nw'], ['name', (one) => one.name], ['tenant', (one) => one.tenant, 'wide'],
        ['may', (one) => one.scopes.join(', ')], ['rate', (one) => one.rate ?? '–', 'wide'], ['id', (one) => html`<code>${one.id}</code>`, 'wide'],
        ['made', (one) => html`<${When} at=${one.created_at} />`, 'n wide'], ['ends', (one) => html`<${When} at=${one.expires_at} />`, 'n wide'],
        ['', (one) => one.state === 'live' && html`<span class="actions">
          <${Action} name="Replace" run=${rotate(one)} ask=${`A new key is made in the place of ${one.name}, which goes on for an hour.`} />
          <${Action} name="Revoke" harm=${true} run=${revoke(one)}
            ask=${`${one.name} opens nothing any more, at any host within five seconds.`} /></span>`, 'n']]} />
        <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('keys')}>First</a>`}
          ${page.next_cursor && html`<a class="button" href=${to('keys', { cursor: page.next_cursor })}>Next</a>`}</nav>`
    : html`<${Empty} title="There are no keys: everybody on this machine may do everything."
        command="cofferdam key create --name me --scope run,read,modules,admin">Make the first one above, or on the command line:</${Empty}>`}`}</${Loaded}>`;
}

export const keysPage = { path: 'keys', name: 'Keys', group: 'Operate', go: 'k', admin: true, Page };
