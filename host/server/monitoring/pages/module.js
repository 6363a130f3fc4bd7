// One module: what it is, what it needs, its schemas and versions, and what can be done with it.

import { html } from '../ui.js';
import { download, get, path, send, tell } from '../api.js';
import { bytes, duration } from '../format.js';
import { usePolled } from '../live.js';
import { Action, At, Facts, Head, Held, Loaded, Table, Text, When } from '../parts.js';
import { go, to } from '../address.js';

/** The versions that are listed. */
const LISTED = 50;

function Page({ query }) {
  const name = query.name ?? '';
  const where = path('/v1/modules', name);
  const module = usePolled((signal) => get(where, {}, signal), 10_000, [name]);
  const remove = async () => {
    await send('DELETE', where);
    go('modules');
    return `${name} is gone`;
  };
  const reset = async () => {
    await tell('POST', `${where}/reset`);
    module.again();
  };
  const schema = (title, is) => is && html`<h2>${title}</h2><${Text} label=${title} text=${JSON.stringify(is, null, 2)} />`;
  return html`<${Head} title=${name}>
      <a class="button" href=${to('submit', { module: name })}>Submit a task</a><a class="button" href=${to('try', { kind: 'module', module: name })}>Try it</a>
      <a class="button" href=${to('tasks', { module: name })}>Its tasks</a></${Head}>
    <${Loaded} of=${module}>${(it) => html`
      ${it.descriptor?.summary && html`<p class="lead">${it.descriptor.summary}</p>`}
      ${it.held && html`<${Held} by=${it.held}><p><${Action} name="Let it run again" run=${reset} done="It runs again" /></p></${Held}>`}
      <${Facts} of=${[['kind', it.kind], ['size', bytes(it.size_bytes)], ['version', html`<code>${it.digest}</code>`],
        ['put', html`<${At} at=${it.created_at} />`], ['compiled in', duration(it.compiled_ms)],
        it.needs.length > 0 && ['needs grants', it.needs.join(', ')]]} />
      <p class="actions"><${Action} name="Save its bytes" done="Saved" run=${() => download(`${where}/wasm`, name.split('/').at(-1))} />
        <${Action} name="Remove" harm=${true} run=${remove} ask="Tasks that are submitted already still run it. New ones can no longer name it." /></p>
      ${schema('Input', it.descriptor?.input_schema)}${schema('Output', it.descriptor?.output_schema)}
      <h2>Versions</h2><${Table} label="Versions, newest first" rows=${it.versions.slice(0, LISTED)} id=${(one) => one.digest} columns=${[
        ['version', (one) => html`<code>${one.digest.slice(0, 19)}…</code>`], ['size', (one) => bytes(one.size_bytes), 'n'],
        ['put', (one) => html`<${When} at=${one.created_at} />`, 'n'],
        ['', (one) => html`<a href=${to('submit', { module: `${name}@${one.digest}` })}
          aria-label=${`Submit a task of version ${one.digest.slice(7, 19)}`}>submit</a>`, 'n']]} />
      ${it.imports.length > 0 && html`<h2>Imports</h2><${Text} label="Imports" text=${it.imports.join('\n')} />`}`}</${Loaded}>`;
}

export const modulePage = { path: 'module', of: 'modules', Page };
