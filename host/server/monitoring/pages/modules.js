// The modules, by name, and the upload of another version or another module.

import { html, useState } from '../ui.js';
import { get, path, send } from '../api.js';
import { bytes } from '../format.js';
import { usePolled } from '../live.js';
import { Empty, Field, Head, Loaded, Table, When, Wrong, say } from '../parts.js';
import { go, to } from '../address.js';

const LIMIT = 50;
const NAME = '[a-z0-9][a-z0-9._\\/\\-]*';
const TYPES = { wasm: 'application/wasm', wat: 'text/wat', py: 'text/x-python', js: 'text/javascript', mjs: 'text/javascript', ts: 'text/typescript' };

function Upload({ onDone }) {
  const [name, setName] = useState('');
  const [file, setFile] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const pick = (event) => {
    const [chosen] = event.target.files;
    setFile(chosen ?? null);
    if (chosen && !name) setName(chosen.name.toLowerCase().replace(/\.(wasm|wat)$/, '').replace(/[^a-z0-9._/-]/g, '-'));
  };
  const upload = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const type = TYPES[file.name.split('.').at(-1).toLowerCase()] ?? 'application/octet-stream';
      await send('PUT', path('/v1/modules', name), { body: file, headers: { 'content-type': type }, patience: 0 });
      say(`${name} is there`);
      onDone();
      go('module', { name });
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return html`<details><summary>Upload a module</summary><form onSubmit=${upload}><div class="fields">
      <${Field} type="file" label="File" required onChange=${pick} accept=".wasm,.wat,.py,.js,.mjs,.ts" />
      <${Field} label="Name" required value=${name} pattern=${NAME} maxlength="128" onInput=${(event) => setName(event.target.value)} />
      <div class="field low"><button class="main" disabled=${busy || !file}>${busy ? 'Compiling …' : 'Upload'}</button></div></div></form>
    <p class="small quiet">A component, a WASI module, their text, or a script in Python, JavaScript or TypeScript.
      It is checked and compiled before the answer.</p>
    ${error && html`<${Wrong} error=${error} />`}</details>`;
}

function Page({ query }) {
  const cursor = query.cursor ?? '';
  const list = usePolled((signal) => get('/v1/modules', { limit: LIMIT, cursor }, signal), 15_000, [cursor]);
  return html`<${Head} title="Modules" /><${Upload} onDone=${list.again} />
    <${Loaded} of=${list}>${(page) => page.items.length ? html`
      <${Table} label="Modules" rows=${page.items} id=${(one) => one.name} columns=${[
        ['name', (one) => html`<a href=${to('module', { name: one.name })}>${one.name}</a>`],
        ['kind', (one) => one.kind, 'nw'], ['what it says of itself', (one) => (one.descriptor?.summary ?? '').slice(0, 200), 'wide'],
        ['size', (one) => bytes(one.size_bytes), 'n wide'], ['put', (one) => html`<${When} at=${one.created_at} />`, 'n']]} />
      <nav class="pager" aria-label="Pages of the list">${cursor && html`<a class="button" href=${to('modules')}>First</a>`}
        ${page.next_cursor && html`<a class="button" href=${to('modules', { cursor: page.next_cursor })}>Next</a>`}</nav>`
    : html`<${Empty} title="There are no modules yet." command="cofferdam module push hello hello.wasm">
        Upload one above, or on the command line:</${Empty}>`}</${Loaded}>`;
}

export const modulesPage = { path: 'modules', name: 'Modules', group: 'Run', go: 'm', Page };
