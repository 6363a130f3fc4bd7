// Secrets: what a tenant entrusts to the host, which uses it and shows it to nobody.

import { html, useState } from '../ui.js';
import { get, path, send } from '../api.js';
import { usePolled } from '../live.js';
import { Action, Empty, Field, Head, Loaded, Table, When, Wrong, say } from '../parts.js';
import { to } from '../address.js';

const LIMIT = 50;
const NAME = '[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}';

function Put({ onDone }) {
  const [name, setName] = useState('');
  const [value, setValue] = useState('');
  const [error, setError] = useState(null);
  const put = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      await send('PUT', path('/v1/secrets', name), { json: { value } });
      say(`${name} is kept`);
      setName('');
      onDone();
    } catch (failure) {
      setError(failure);
    }
    setValue('');
  };
  return html`<details><summary>Put a secret</summary><form onSubmit=${put}><div class="fields">
      <${Field} label="Name" required pattern=${NAME} value=${name} onInput=${(event) => setName(event.target.value)} />
      <${Field} label="Value" type="password" required value=${value} onInput=${(event) => setValue(event.target.value)} />
      <div class="field low"><button class="main">Keep it</button></div></div></form>
    ${error && html`<${Wrong} error=${error} />`}</details>`;
}

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const list = usePolled((signal) => get('/v1/secrets', { limit: LIMIT, cursor }, signal), 15_000, [cursor]);
  const forget = (secret) => async () => {
    await send('DELETE', path('/v1/secrets', secret.name));
    list.again();
    return `${secret.name} is forgotten`;
  };
  return html`<${Head} title="Secrets" lead="The host uses them for this tenant's tasks, and shows them to nobody: not here, and not to a guest." />
    <${Put} onDone=${list.again} /><${Loaded} of=${list}>${(page) => page.items.length ? html`
      <${Table} label="Secrets" rows=${page.items} id=${(one) => one.name} columns=${[['name', (one) => one.name],
        ['first put', (one) => html`<${When} at=${one.created_at} />`, 'n wide'], ['put last', (one) => html`<${When} at=${one.updated_at} />`, 'n'],
        ['', (one) => html`<${Action} name="Forget" harm=${true} run=${forget(one)} ask=${`What uses ${one.name} fails from now on.`} />`, 'n']]} />
      <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('secrets')}>First</a>`}
        ${page.next_cursor && html`<a class="button" href=${to('secrets', { cursor: page.next_cursor })}>Next</a>`}</nav>`
    : html`<${Empty} title="This tenant has no secrets." command="cofferdam secret put NAME --file value.txt">
        Put one above, or on the command line:</${Empty}>`}</${Loaded}>`;
}

export const secretsPage = { path: 'secrets', name: 'Secrets', group: 'Operate', go: 'c', Page };
