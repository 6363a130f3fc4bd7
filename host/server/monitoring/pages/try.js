// Try it: code or a module, run at once, with what comes back as it comes.

import { html, useState, useEffect, useRef } from '../ui.js';
import { TEXT_MAX, download, events, get, path, readText, send, written } from '../api.js';
import { bytes, duration, pretty } from '../format.js';
import { kept, usePolled } from '../live.js';
import { Action, Choice, Facts, Field, Head, State, Table, Text, Wrong, say } from '../parts.js';
import { go, to } from '../address.js';

/** The files that are given to code, together. */
const GIVEN_MAX = 700_000;
/** Pictures up to this size are shown. */
const PICTURE_MAX = 4 * 1024 * 1024;
const PICTURES = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp' };
const EXAMPLES = {
  python: [
    'import csv, statistics', '', 'samples = [3.1, 4.7, 5.0, 4.4]', 'print("mean", statistics.mean(samples))', '',
    'with open("samples.csv", "w") as file:', '    csv.writer(file).writerows([s] for s in samples)', '',
    '{"mean": statistics.mean(samples), "largest": max(samples)}', ''].join('\n'),
  javascript: [
    'const samples = [3.1, 4.7, 5.0, 4.4];', 'const mean = samples.reduce((a, b) => a + b) / samples.length;',
    'console.log("mean", mean);', '', 'require("fs").writeFileSync("samples.json", JSON.stringify(samples));', '',
    '({ mean, largest: Math.max(...samples) })', ''].join('\n'),
};
/** What was written is there again when somebody comes back to the page. */
const drafts = { ...EXAMPLES, input: '{}', stdin: '' };

/** Text if the bytes are some, otherwise base64, as the API takes files. */
function given(buffer) {
  try { return new TextDecoder('utf-8', { fatal: true }).decode(buffer); } catch { /* It is no text. */ }
  let binary = '';
  for (const byte of new Uint8Array(buffer)) binary += String.fromCharCode(byte);
  return { base64: btoa(binary) };
}

/** Runs code and tells what comes, until its answer. */
async function runCode(request, signal, tell) {
  const response = await send('POST', '/v1/exec', { json: request, headers: { accept: 'text/event-stream' }, signal, patience: 0 });
  if (!response.headers.get('content-type')?.includes('event-stream')) return response.json();
  for await (const { name, data } of events(response)) {
    if (name === 'stdout' || name === 'stderr') tell(name, written(data));
    else if (name === 'result') return data;
    else if (name === 'error') throw Object.assign(new Error(data.detail), data);
  }
  throw new Error('The host ended before the code did.');
}

/** Runs a module at once; a run that fails is an answer as well. */
async function runModule(name, input, signal) {
  let isJson = true;
  try { JSON.parse(input); } catch { isJson = false; }
  const headers = { 'content-type': isJson ? 'application/json' : 'text/plain' };
  try {
    const response = await send('POST', path('/v1/run', name), { body: input, headers, signal, patience: 0 });
    const header = (what) => Number(response.headers.get(`cofferdam-${what}`)) || 0;
    const { text, cut } = await readText(response, TEXT_MAX);
    return {
      status: 'completed', output: pretty(text), cut, type: response.headers.get('content-type'),
      usage: { duration_us: header('duration-us'), peak_memory_bytes: header('peak-memory-bytes') },
    };
  } catch (error) {
    if (!error.rest?.usage) throw error;
    const { code, detail, usage, stdout, stderr, backtrace } = error.rest;
    return { status: 'failed', error: { kind: code, message: detail, traceback: backtrace }, usage, stdout, stderr };
  }
}

function Picture({ file, url }) {
  const [source, set] = useState(null);
  useEffect(() => {
    let made = null;
    const abort = new AbortController();
    const type = PICTURES[file.split('.').at(-1).toLowerCase()];
    send('GET', url, { signal: abort.signal }).then(async (response) => {
      made = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type }));
      if (abort.signal.aborted) URL.revokeObjectURL(made);
      else set(made);
    }, () => {});
    return () => { abort.abort(); if (made) URL.revokeObjectURL(made); };
  }, [url]);
  return source && html`<p><img class="shown" src=${source} alt=${`The picture ${file}, which the code wrote`} /></p>`;
}

function Files({ of }) {
  // Only addresses of this host are asked.
  const files = Object.entries(of ?? {}).filter(([, { url }]) => url.startsWith('/v1/')).slice(0, 100);
  const isPicture = ([name, { size_bytes: size }]) => size <= PICTURE_MAX && PICTURES[name.split('.').at(-1).toLowerCase()];
  return files.length > 0 && html`<h2>Files</h2><${Table} label="Files that the code wrote" rows=${files} id=${([name]) => name} columns=${[
    ['file', ([name]) => html`<code>${name}</code>`], ['size', ([, file]) => bytes(file.size_bytes), 'n'],
    ['', ([name, file]) => html`<${Action} name="Save" done="Saved" run=${() => download(file.url, name.split('/').at(-1))} />`, 'n']]} />
    ${files.filter(isPicture).slice(0, 4).map(([name, { url }]) => html`<${Picture} key=${url} file=${name} url=${url} />`)}`;
}

function Answer({ is, streams }) {
  const stdout = is?.stdout ?? streams.stdout;
  const stderr = is?.stderr ?? streams.stderr;
  return html`
    ${is && html`<p><${State} word=${is.status} />
      ${is.usage && html`<span class="quiet">in ${duration(is.usage.duration_us / 1000)}, with ${bytes(is.usage.peak_memory_bytes)}</span>`}</p>`}
    ${is?.error && html`<div class="note wrong"><p><code>${is.error.kind}</code> ${is.error.message}</p>
      ${is.error.traceback && html`<${Text} label="Traceback" text=${is.error.traceback} />`}</div>`}
    ${is?.result != null && html`<h2>Result</h2><${Text} label="Result" text=${JSON.stringify(is.result, null, 2)} />`}
    ${is?.result == null && is?.result_repr && html`<h2>Result</h2><${Text} label="Result" text=${is.result_repr} />`}
    ${is?.output != null && html`<h2>Output <span class="quiet small">${is.type}</span></h2>
      <${Text} label="Output" text=${is.output || '(empty)'} cut=${is.cut} />`}
    ${stdout && html`<h2>stdout</h2><${Text} label="stdout" text=${stdout} cut=${is?.truncated?.stdout} />`}
    ${stderr && html`<h2>stderr</h2><${Text} label="stderr" text=${stderr} cut=${is?.truncated?.stderr} />`}
    <${Files} of=${is?.files} />
    ${is?.exit_code ? html`<${Facts} of=${[['exit code', is.exit_code]]} />` : null}`;
}

/** The state of one run: begun, told of, ended. */
function useRun() {
  const [run, set] = useState({ streams: {} });
  const abort = useRef(null);
  useEffect(() => () => abort.current?.abort(), []);
  const begin = async (work) => {
    abort.current?.abort();
    const mine = new AbortController();
    abort.current = mine;
    set({ busy: true, streams: {} });
    const tell = (name, text) => set((old) => ({ ...old, streams: { ...old.streams, [name]: kept(old.streams[name] ?? '', text) } }));
    try {
      const is = await work(mine.signal, tell);
      if (abort.current !== mine) return;
      set((old) => ({ is, streams: old.streams }));
      say(`It has ${is.status}`);
    } catch (error) {
      if (abort.current !== mine) return;
      set((old) => mine.signal.aborted ? { streams: old.streams, stopped: true } : { streams: old.streams, error });
    }
  };
  return { run, begin, stop: () => abort.current?.abort() };
}

function Page({ query }) {
  const language = query.language === 'javascript' ? 'javascript' : 'python';
  const module = query.module ?? '';
  const isModule = query.kind === 'module' || module !== '';
  const [, redraw] = useState(0);
  const [files, setFiles] = useState({});
  const [fault, setFault] = useState(null);
  const [timeout, setLimit] = useState('30');
  const { run, begin, stop } = useRun();
  const interpreters = usePolled((signal) => get('/v1/interpreters', {}, signal), 5000, []);
  const modules = usePolled((signal) => get('/v1/modules', { limit: 100 }, signal), 0, []);
  const state = interpreters.data?.items.find((one) => one.language === language);
  const draft = (name) => ({ value: drafts[name], onInput: (event) => { drafts[name] = event.target.value; redraw((n) => n + 1); } });
  const start = () => begin((signal, tell) => isModule ? runModule(module, drafts.input, signal)
    : runCode({ language, code: drafts[language], stdin: drafts.stdin, files,
      timeout_ms: Math.max(1, Math.round(Number(timeout) * 1000)) || 30_000 }, signal, tell));
  const key = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); start(); }
  };
  const add = async (event) => {
    const read = Object.fromEntries(await Promise.all(Array.from(event.target.files, async (file) => [file.name, given(await file.arrayBuffer())])));
    const all = { ...files, ...read };
    const isTooMuch = JSON.stringify(all).length > GIVEN_MAX;
    setFault(isTooMuch ? { detail: 'These files are too large to send with the code.', code: 'files_too_large' } : null);
    if (!isTooMuch) setFiles(all);
  };
  const tab = (name, query, here) => html`<button type="button" aria-pressed=${here} onClick=${() => go('try', query)}>${name}</button>`;
  return html`<${Head} title="Try it" lead="It runs in a sandbox of its own, under limits, and nothing of it is stored but the files, for an hour.">
      ${run.busy ? html`<button onClick=${stop}>Stop</button>`
        : html`<button class="main" onClick=${start} disabled=${isModule && !module}>Run</button>`}</${Head}>
    <div class="tabs" role="group" aria-label="What to run">
      ${tab('Python', { language: 'python' }, !isModule && language === 'python')}
      ${tab('JavaScript', { language: 'javascript' }, !isModule && language === 'javascript')}
      ${tab('A module', { kind: 'module' }, isModule)}</div>
    <div class="split"><form onSubmit=${(event) => event.preventDefault()} onKeyDown=${key}>
      ${isModule ? html`
        <${Choice} label="Module" value=${module} any="choose one" onPick=${(name) => go('try', { kind: 'module', module: name })}
          words=${[...new Set([module, ...(modules.data?.items ?? []).map((one) => one.name)])].filter(Boolean)} />
        <${Field} as="textarea" class="code" label="Input" spellcheck="false" ...${draft('input')} hint="JSON, or any other text. Ctrl+Enter runs it." />`
    : html`
        ${state && state.state !== 'ready' && html`<div class="note"><p><${State} word=${state.state} /> ${state.state === 'warming_up'
          ? 'The interpreter is being compiled; that takes seconds, once.'
          : 'This host does not have the interpreter. cargo xtask interpreters builds it.'}</p></div>`}
        <${Field} as="textarea" class="code" rows="16" label=${language === 'python' ? 'Python' : 'JavaScript or TypeScript'}
          spellcheck="false" ...${draft(language)}
          hint="The value of the last expression comes back as the result. Ctrl+Enter runs it." />
        <details><summary>Standard input, files, time</summary>
          <${Field} as="textarea" rows="3" label="Standard input" ...${draft('stdin')} />
          <${Field} type="file" multiple label="Files for the working directory" onChange=${add}
            hint=${Object.keys(files).length ? `given: ${Object.keys(files).join(', ')}` : 'none yet'} />
          <${Field} type="number" min="0.001" step="any" label="Most seconds" value=${timeout} onInput=${(event) => setLimit(event.target.value)} />
          ${fault && html`<${Wrong} error=${fault} />`}</details>`}
    </form>
    <section aria-label="What came of it" aria-busy=${Boolean(run.busy)}>
      ${run.error && html`<${Wrong} error=${run.error} />`}
      ${run.stopped && html`<p><${State} word="cancelled" /> You stopped it.</p>`}
      ${run.busy && html`<p><${State} word="running" /></p>`}
      ${!run.is && !run.busy && !run.error && !run.stopped && html`<p class="quiet">
        What it prints, returns and writes comes here. To keep it as a task, <a href=${to('submit')}>submit one</a>.</p>`}
      <${Answer} is=${run.is} streams=${run.streams} />
    </section></div>`;
}

export const tryPage = { path: 'try', name: 'Try it', group: 'Run', go: 'y', Page };
