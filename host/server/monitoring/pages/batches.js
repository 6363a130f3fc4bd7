// A batch by its id: how many of its tasks are in which state. The API lists no batches.

import { html, useState } from '../ui.js';
import { get, path, tell } from '../api.js';
import { count } from '../format.js';
import { usePolled } from '../live.js';
import { Action, At, Bar, Empty, Facts, Field, Head, Loaded, State } from '../parts.js';
import { go } from '../address.js';
import { STATES } from '../tasklist.js';

/** The host counts a batch's tasks for each answer, up to ten thousand. */
const EVERY_MS = 5000;

function Batch({ id }) {
  const [isDone, setDone] = useState(false);
  const batch = usePolled(async (signal) => {
    const it = await get(path('/v1/batches', id), {}, signal);
    setDone(it.done);
    return it;
  }, isDone ? 0 : EVERY_MS, [id, isDone]);
  const cancel = async () => {
    const { tasks } = await tell('DELETE', path('/v1/batches', id));
    batch.again();
    return `${count(tasks)} tasks are being cancelled`;
  };
  return html`<${Loaded} of=${batch}>${(it) => html`
    <p><${State} word=${it.done ? 'completed' : 'running'} /> <code>${it.batch_id}</code></p>
    <div class="bars">${STATES.map((state) => html`<${Bar} name=${state} used=${it.counts[state]} most=${it.tasks || 1} show=${count} />`)}</div>
    <${Facts} of=${[['submitted', html`<${At} at=${it.created_at} />`], ['at once', it.parallelism ?? 'any number'],
      it.removed > 0 && ['no longer kept', count(it.removed)]]} />
    ${!it.done && html`<p><${Action} name="Cancel the batch" harm=${true} run=${cancel}
      ask="Every task of it that is not final is cancelled." /></p>`}`}</${Loaded}>`;
}

function Page({ query }) {
  const [id, setId] = useState(query.id ?? '');
  const find = (event) => { event.preventDefault(); go('batches', { id: id.trim() }); };
  return html`<${Head} title="Batches" />
    <form class="fields one" onSubmit=${find}>
      <${Field} label="The id of a batch" value=${id} onInput=${(event) => setId(event.target.value)} required />
      <p><button class="main">Show it</button></p></form>
    ${query.id ? html`<${Batch} key=${query.id} id=${query.id} />`
      : html`<${Empty} title="A batch is shown by the id that its submission gave." command="cofferdam task batch tasks.jsonl">
        Up to 10 000 tasks are submitted at once, all or none:</${Empty}>`}`;
}

export const batchesPage = { path: 'batches', name: 'Batches', group: 'Watch', go: 'b', Page };
