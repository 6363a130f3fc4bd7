// One task: where it stands, how it came there, what it used, what it wrote, and what can be done.

import { html, useState, useEffect } from '../ui.js';
import { download, events, get, path, readText, send, tell, written } from '../api.js';
import { bytes, count, duration, pretty } from '../format.js';
import { kept, usePolled } from '../live.js';
import { Action, At, Bar, Facts, Head, Held, Loaded, State, Table, Text, When, Wrong } from '../parts.js';
import { go, to } from '../address.js';

const FINAL = ['completed', 'failed', 'cancelled'];
const STREAMS = ['stdout', 'stderr', 'log'];
/** The longest wait before a broken stream is resumed. */
const RESUME_MAX_MS = 30_000;
const EVERY_MS = 5000;
/** Results up to this size are shown. */
const SHOWN_MAX = 64 * 1024;
/** The files that are listed. */
const LISTED = 200;

/** Follows a task that is not final: what it writes, how far it is. `onChange` hears of other states. */
function useEvents(id, isOpen, onChange) {
  const [streams, set] = useState({});
  const [progress, setProgress] = useState(null);
  useEffect(() => {
    if (!isOpen) return undefined;
    let asking = null;
    let timer = 0;
    let last = null;
    let wait = 1000;
    const follow = async () => {
      const mine = new AbortController();
      asking = mine;
      try {
        const headers = last ? { 'last-event-id': last } : {};
        const response = await send('GET', path('/v1/tasks', id, 'events'), { headers, signal: mine.signal, patience: 0 });
        for await (const event of events(response)) {
          wait = 1000;
          if (event.id) last = event.id;
          if (STREAMS.includes(event.name)) {
            set((old) => ({ ...old, [event.name]: kept(old[event.name] ?? '', written(event.data)) }));
          } else if (event.name === 'progress') setProgress(event.data);
          else onChange();
          if (event.name === 'result') return;
        }
      } catch { /* It is resumed, and the polling says what is wrong. */ }
      if (mine.signal.aborted) return;
      timer = setTimeout(follow, wait);
      wait = Math.min(wait * 2, RESUME_MAX_MS);
    };
    const rest = () => {
      clearTimeout(timer);
      asking?.abort();
    };
    const seen = () => {
      rest();
      if (!document.hidden) follow();
    };
    document.addEventListener('visibilitychange', seen);
    seen();
    return () => {
      rest();
      document.removeEventListener('visibilitychange', seen);
    };
  }, [id, isOpen]);
  return { streams, progress };
}

/** What an ended task wrote: each stream of one attempt, as far as it is shown. */
async function logs(id, attempt, signal) {
  const read = STREAMS.map(async (stream) => {
    const response = await send('GET', `${path('/v1/tasks', id, 'logs')}?stream=${stream}${attempt ? `&attempt=${attempt}` : ''}`, { signal });
    return [stream, await readText(response)];
  });
  return Object.fromEntries(await Promise.all(read));
}

function Timeline({ task, attempts }) {
  const begin = Date.parse(task.created_at);
  const end = task.finished_at ? Date.parse(task.finished_at) : Date.now();
  const whole = Math.max(end - begin, 1);
  const open = task.status === 'running' && task.started_at
    ? [{ attempt: task.attempt, started_at: task.started_at, finished_at: new Date().toISOString() }] : [];
  const all = [...attempts.filter((one) => !open.length || one.attempt !== task.attempt), ...open];
  const place = (one) => ({
    left: `${(Date.parse(one.started_at) - begin) / whole * 100}%`,
    width: `${(Date.parse(one.finished_at) - Date.parse(one.started_at)) / whole * 100}%`,
  });
  return html`<div class="track" aria-hidden="true">${all.map((one) => html`<i class=${one.error ? 'failed' : ''} style=${place(one)}></i>`)}</div>
    <${Facts} of=${[
      ['submitted', html`<${At} at=${task.created_at} />`],
      task.status === 'pending' && task.run_at !== task.created_at && ['not before', html`<${At} at=${task.run_at} />`],
      task.started_at && ['newest attempt began', html`<${At} at=${task.started_at} />`],
      task.finished_at && ['final', html`<${At} at=${task.finished_at} /> after ${duration(end - begin)}`],
      task.estimated_completion && ['expected', html`<${When} at=${task.estimated_completion} />`],
    ]} />`;
}

function Attempts({ id, page }) {
  if (!page.items.length) return html`<p class="quiet">No attempt has ended yet.</p>`;
  return html`<${Table} label="Attempts" rows=${page.items} id=${(one) => one.attempt} columns=${[
    ['attempt', (one) => html`<a href=${to(`tasks/${id}`, { attempt: one.attempt })}>${one.attempt}</a>`],
    ['ended as', (one) => html`<${State} word=${one.error ? 'failed' : 'completed'} /> ${one.error && html`<code>${one.error.kind}</code>`}`],
    ['began', (one) => html`<${When} at=${one.started_at} />`, 'nw wide'],
    ['took', (one) => duration(one.usage.duration_us / 1000), 'n'],
    ['CPU', (one) => duration(one.usage.cpu_us / 1000), 'n wide'],
    ['memory', (one) => bytes(one.usage.peak_memory_bytes), 'n wide'],
    ['worker', (one) => html`<code>${one.worker_id.slice(0, 8)}</code>`, 'wide'],
  ]} />${page.next_cursor && html`<p class="small quiet">These are the first; <code>/v1/tasks/${id}/attempts</code> has the others.</p>`}`;
}

function Usage({ usage, limits }) {
  const rows = [
    ['wall time', usage.duration_us / 1000, limits?.timeout_ms, duration], ['CPU time', usage.cpu_us / 1000, limits?.cpu_ms, duration],
    ['memory', usage.peak_memory_bytes, limits?.memory_bytes, bytes], ['disk', usage.disk_bytes, limits?.disk_bytes, bytes],
    usage.fuel != null && ['fuel', usage.fuel, limits?.fuel, count],
  ].filter(Boolean);
  return html`<div class="bars">${rows.map(([name, used, most, show]) => html`<${Bar} name=${name} used=${used} most=${most} show=${show} />`)}</div>
    ${usage.egress_requests > 0 && html`<p class="small quiet">${count(usage.egress_requests)} requests to other machines,
      ${bytes(usage.egress_in_bytes)} received, ${bytes(usage.egress_out_bytes)} sent</p>`}`;
}

/** The result, shown if it is text that fits. */
function Result({ task }) {
  const where = path('/v1/tasks', task.task_id, 'result');
  const small = task.result_bytes <= SHOWN_MAX;
  const result = usePolled(async (signal) => {
    if (!small) return { text: null };
    const response = await send('GET', where, { signal });
    const type = response.headers.get('content-type') ?? '';
    const isText = /json|text|xml|javascript/.test(type);
    if (!isText) return { text: null, type };
    const { text } = await readText(response);
    return { type, text: type.includes('json') ? pretty(text) : text };
  }, 0, [task.task_id, task.finished_at]);
  return html`<h2>Result</h2><${Loaded} of=${result}>${({ text, type }) => html`
    ${text === null ? html`<p class="quiet">${bytes(task.result_bytes)} ${type && html`of <code>${type}</code>`}</p>`
      : html`<${Text} label="Result" text=${text || '(empty)'} />`}
    <p><${Action} name="Save the result" run=${() => download(where, `${task.task_id}.result`)} done="Saved" /></p>`}</${Loaded}>`;
}

function Files({ id, attempt }) {
  const files = usePolled((signal) => get(path('/v1/tasks', id, 'artifacts'), { attempt }, signal), 0, [id, attempt]);
  const where = (file) => `${path('/v1/tasks', id, 'artifacts', file.path)}${attempt ? `?attempt=${attempt}` : ''}`;
  const save = (file) => () => download(where(file), file.path.split('/').at(-1));
  const some = files.data?.items.slice(0, LISTED) ?? [];
  return some.length > 0 && html`<h2>Files</h2><${Table} label="Files that the task left" rows=${some} id=${(file) => file.path} columns=${[
    ['file', (file) => html`<code>${file.path}</code>`], ['size', (file) => bytes(file.size_bytes), 'n'],
    ['', (file) => html`<${Action} name="Save" done="Saved" run=${save(file)} />`, 'n']]} />`;
}

function Output({ id, task, live, attempt }) {
  const hasEnded = task.attempt > 0 && FINAL.includes(task.status);
  const ended = usePolled((signal) => hasEnded ? logs(id, attempt, signal) : Promise.resolve({}), 0, [id, attempt, task.finished_at]);
  const of = (stream) => ended.data?.[stream] ?? { text: live[stream] ?? '', cut: false };
  const some = STREAMS.filter((stream) => of(stream).text);
  return html`<h2>Output ${attempt && html`<span class="quiet">of attempt ${attempt}</span>`}</h2>
    ${ended.error && html`<${Wrong} error=${ended.error} again=${ended.again} />`}
    ${some.map((stream) => html`<h3>${stream}</h3>
      <${Text} label=${stream} text=${of(stream).text} cut=${of(stream).cut || task.truncated[stream]} />`)}
    ${!some.length && html`<p class="quiet">It has written nothing${FINAL.includes(task.status) ? '' : ' so far'}.</p>`}`;
}

const Failure = ({ error }) => html`<div class="note wrong"><p><${State} word="failed" /> <code>${error.kind}</code>
  ${error.exit_code != null && html` <span class="quiet">exit code ${error.exit_code}</span>`}
  ${error.transient && html` <span class="quiet">may pass</span>`}</p>
  <p>${error.message || 'It gave no message.'}</p>${error.backtrace && html`<${Text} label="Backtrace" text=${error.backtrace} />`}</div>`;

function Request({ of: { request: of, input_bytes: size, input_left_out: isLeftOut } }) {
  const shown = of.input !== undefined ? pretty(JSON.stringify(of.input)) : of.input_base64 ?? '';
  return html`<h2>Input</h2>
    ${shown ? html`<${Text} label="Input" text=${shown.slice(0, SHOWN_MAX)} cut=${shown.length > SHOWN_MAX} />`
      : html`<p class="quiet">${isLeftOut ? 'too large to show' : 'none'}</p>`}
    <p class="small quiet">${of.content_type}, ${bytes(size)}${of.input_base64 !== undefined && ', as base64'}</p>
    ${of.args.length > 0 && html`<h3>Arguments</h3><${Text} label="Arguments" text=${of.args.join('\n')} />`}`;
}

function Page({ id, query }) {
  const attempt = /^\d+$/.test(query.attempt ?? '') ? query.attempt : '';
  const at = (...parts) => path('/v1/tasks', id, ...parts);
  const task = usePolled((signal) => get(at(), {}, signal), EVERY_MS, [id]);
  const attempts = usePolled((signal) => get(at('attempts'), { limit: 50 }, signal), 0, [id, task.data?.attempt, task.data?.status]);
  const request = usePolled((signal) => get(at('request'), {}, signal), 0, [id]);
  const isFinal = FINAL.includes(task.data?.status);
  const { streams, progress } = useEvents(id, Boolean(task.data) && !isFinal, task.again);
  const change = (method, where, json) => async () => {
    await tell(method, where, json);
    task.again();
  };
  const forget = async () => {
    await send('DELETE', `${at()}?purge=true`);
    go('tasks');
    return 'The task is gone';
  };
  const it = task.data;
  const canRetry = it?.status === 'failed' || it?.status === 'cancelled';
  return html`<${Head} title=${it?.module ?? 'Task'}>
      ${canRetry && html`<${Action} main=${true} name="Retry" run=${change('POST', at('retry'))} done="It is pending again" />`}
      ${it && !isFinal && html`<${Action} harm=${true} name="Cancel" run=${change('DELETE', at())} done="It is being cancelled"
        ask="A guest that runs is asked to end, and killed if it does not." />`}
      ${it && html`<a class="button" href=${to('submit', { from: id })}>Run again, changed</a>`}
      ${isFinal && html`<${Action} harm=${true} name="Remove" run=${forget}
        ask="The task, its result, its output, its files and its input are removed from the host." />`}
    </${Head}><${Loaded} of=${task}>${() => html`
    <p class="lead"><${State} word=${it.label} /> <code>${it.task_id}</code></p>
    ${it.status === 'running' && html`<div class="bars"><${Bar} name=${(progress?.progress_note ?? it.progress_note) || 'progress'}
      used=${(progress?.progress ?? it.progress) * 100} most=${100} show=${(part) => `${Math.round(part)} %`} /></div>`}
    ${it.error && html`<${Failure} error=${it.error} />`}
    ${it.held && html`<${Held} by=${it.held}><p class="small"><a href=${to('module', { name: it.module })}>The module</a> can be let run again.</p></${Held}>`}
    ${it.waiting_for && html`<div class="note">
      <p>It waits for ${it.waiting_for.reason === 'worker_up' ? 'a worker that has what it requires to be up' : 'a worker that has'}
      <code>${it.waiting_for.missing.join(', ')}</code>.</p>
      <p class="small quiet">Start a host with it (<code>worker.capabilities</code>), or cancel the task.</p></div>`}
    <div class="split"><section><h2>Timeline</h2><${Timeline} task=${it} attempts=${attempts.data?.items ?? []} /></section>
      <section>${it.usage && html`<h2>Used, against its limits</h2><${Usage} usage=${it.usage} limits=${request.data?.request.limits} />`}</section></div>
    <h2>Attempts</h2><${Loaded} of=${attempts}>${(page) => html`<${Attempts} id=${id} page=${page} />`}</${Loaded}>
    ${it.result_bytes != null && isFinal && html`<${Result} task=${it} />`}
    <${Output} id=${id} task=${it} live=${streams} attempt=${attempt} />
    ${isFinal && html`<${Files} id=${id} attempt=${attempt} />`}
    ${request.error ? html`<${Wrong} error=${request.error} again=${request.again} />` : request.data && html`<${Request} of=${request.data} />`}
    <h2>More</h2><${Facts} of=${[
      ['version', html`<a href=${to('module', { name: it.module })}><code>${it.digest}</code></a>`], ['priority', it.priority],
      ['attempts', `${it.attempt} of ${it.max_attempts}${it.lost ? `; ${it.lost} lost with their host` : ''}`],
      ['worker', it.worker_id && html`<code>${it.worker_id}</code>`], ['isolation', it.isolation ?? 'as the host decides'],
      it.requires.length > 0 && ['requires', it.requires.join(', ')], it.preferred_worker && ['prefers', it.preferred_worker],
      ['metadata', html`<code>${JSON.stringify(it.metadata)}</code>`]]} />`}</${Loaded}>`;
}

export const taskPage = { path: 'tasks/:id', of: 'tasks', Page };
