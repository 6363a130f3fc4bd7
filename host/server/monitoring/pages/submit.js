// A task to submit: a form made from the module's schema, or JSON; from nothing or from an earlier task.

import { html, useState, useEffect } from '../ui.js';
import { get, once, path, tell } from '../api.js';
import { parse } from '../format.js';
import { usePolled } from '../live.js';
import { Choice, Empty, Field, Head, Loaded, Wrong } from '../parts.js';
import { SchemaForm, initial, isForm } from '../schema.js';
import { PRIORITIES } from '../tasklist.js';
import { go, to } from '../address.js';

/** The modules among which one can choose; others can be named. */
const LISTED = 100;

/** The form of one module, which begins with what an earlier task asked for. */
function Form({ module, descriptor, from }) {
  const schema = descriptor?.input_schema;
  const asked = from?.request ?? {};
  const [value, setValue] = useState(asked.input ?? initial(schema) ?? {});
  const [text, setText] = useState(asked.input_base64 ? '' : JSON.stringify(asked.input ?? initial(schema) ?? {}, null, 2));
  const [asJson, setAsJson] = useState(!isForm(schema) || typeof value !== 'object' || value === null || Array.isArray(value));
  const [rest, setRest] = useState({
    priority: asked.priority ?? 'normal', max_attempts: asked.retry?.max_attempts ?? 1, args: (asked.args ?? []).join('\n'),
    timeout_ms: asked.limits?.timeout_ms ?? '', memory_bytes: asked.limits?.memory_bytes ?? '', delay_ms: '',
  });
  const [key, setKey] = useState(once);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const typed = (name) => ({ value: rest[name], onInput: (event) => setRest({ ...rest, [name]: event.target.value }) });
  const swap = () => {
    try {
      if (asJson) setValue(parse(text));
      else setText(JSON.stringify(value, null, 2));
      setError(null);
      setAsJson(!asJson);
    } catch {
      setError({ detail: 'This is no JSON, so it cannot be shown as a form.', code: 'invalid_json' });
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const { input, input_base64: base64, ...others } = asked;
      const areBytes = base64 && text === '';
      const own = asJson ? text.trim() === '' ? {} : { input: parse(text) } : { input: value };
      const number = (name) => rest[name] === '' ? {} : { [name]: Number(rest[name]) };
      const body = {
        ...others, module, ...(areBytes ? { input_base64: base64 } : own), content_type: areBytes ? asked.content_type : undefined,
        priority: rest.priority, args: rest.args === '' ? [] : rest.args.split('\n'), ...number('delay_ms'),
        limits: { ...asked.limits, ...number('timeout_ms'), ...number('memory_bytes') }, retry: { ...asked.retry, ...number('max_attempts') },
      };
      const { task_id: id } = await tell('POST', '/v1/tasks', body, { 'idempotency-key': key });
      go(`tasks/${id}`);
    } catch (failure) {
      // A changed request is another one.
      setKey(once());
      setError(failure instanceof SyntaxError ? { detail: `The input is no JSON: ${failure.message}`, code: 'invalid_json' } : failure);
      setBusy(false);
    }
  };
  return html`<form onSubmit=${submit}>
    ${descriptor?.summary && html`<p class="quiet">${descriptor.summary}</p>`}
    ${from?.input_left_out && html`<div class="note"><p>The input of that task is too large to be here; give another.</p></div>`}
    ${asked.input_base64 && html`<p class="quiet">The input of that task is bytes; they are sent again unless you write JSON in their place.</p>`}
    ${!asJson ? html`<${SchemaForm} schema=${schema} value=${value} onValue=${setValue} />`
      : html`<${Field} as="textarea" class="code" label="Input, JSON" spellcheck="false" value=${text} onInput=${(event) => setText(event.target.value)} />`}
    ${isForm(schema) && html`<p><button type="button" onClick=${swap}>${asJson ? 'As a form' : 'As JSON'}</button></p>`}
    <details open=${Boolean(from)}><summary>Priority, limits, attempts, arguments</summary><div class="fields">
      <${Choice} label="Priority" value=${rest.priority} words=${PRIORITIES} any=${null} onPick=${(word) => setRest({ ...rest, priority: word })} />
      <${Field} type="number" min="1" label="Wall time, ms" ...${typed('timeout_ms')} placeholder="the host's default" />
      <${Field} type="number" min="1" label="Memory, bytes" ...${typed('memory_bytes')} placeholder="the host's default" />
      <${Field} type="number" min="1" max="100" label="Attempts in all" ...${typed('max_attempts')} />
      <${Field} type="number" min="0" label="Wait first, ms" ...${typed('delay_ms')} placeholder="0" />
      <${Field} as="textarea" rows="2" label="Arguments, one a line" ...${typed('args')} /></div></details>
    ${error && html`<${Wrong} error=${error} />`}
    <p class="actions"><button class="main" disabled=${busy}>Submit</button></p></form>`;
}

function Page({ query }) {
  const modules = usePolled((signal) => get('/v1/modules', { limit: LISTED }, signal), 0, []);
  const from = usePolled((signal) => query.from ? get(path('/v1/tasks', query.from, 'request'), {}, signal) : Promise.resolve(null), 0, [query.from]);
  const name = query.module ?? from.data?.request.module ?? '';
  const module = usePolled(async (signal) => name ? get(path('/v1/modules', name), {}, signal) : null, 0, [name]);
  const isWanted = (name || query.from) && !module.error && !from.error;
  const isThere = (!query.from || from.data) && module.data?.name === name.split('@')[0];
  const [typed, type] = useState(name);
  useEffect(() => type(name), [name]);
  const names = modules.data?.items.map((one) => one.name) ?? [];
  const pick = (event) => { event.preventDefault(); go('submit', { ...query, module: typed.trim() }); };
  return html`<${Head} title=${query.from ? 'Run again, changed' : 'Submit a task'} lead="It is kept until it has run, even if the host dies meanwhile." />
    ${from.error && html`<${Wrong} error=${from.error} again=${from.again} />`}
    <${Loaded} of=${modules}>${() => names.length || name ? html`<form class="fields" onSubmit=${pick}>
      <${Field} label="Module" list="modules" value=${typed} onInput=${(event) => type(event.target.value)}
        onChange=${pick} hint=${names.length ? 'a name, or name@sha256:…' : ''} />
      <datalist id="modules">${names.map((one) => html`<option value=${one}></option>`)}</datalist></form>`
    : html`<${Empty} title="There is no module to run yet." command="cofferdam module push hello hello.wasm">
        <a href=${to('modules')}>Upload one here</a>, or on the command line. Code needs none: <a href=${to('try')}>Try it</a>.</${Empty}>`}</${Loaded}>
    ${module.error && html`<${Wrong} error=${module.error} again=${module.again} />`}
    ${isWanted && (isThere ? html`<${Form} key=${`${name} ${query.from ?? ''}`} module=${name}
      descriptor=${module.data.descriptor} from=${from.data} />` : html`<p class="quiet" aria-busy="true">Loading …</p>`)}`;
}

export const submitPage = { path: 'submit', name: 'Submit a task', group: 'Run', go: 's', Page };
