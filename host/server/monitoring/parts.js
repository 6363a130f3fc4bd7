// The parts that pages are made of: states, times, tables, notes, fields, actions.

import { html, useState, useEffect, useRef } from './ui.js';
import { ago, clock, duration } from './format.js';

const listeners = new Set();
/** Says something in passing, to eyes and to screen readers. */
export const say = (text) => listeners.forEach((listen) => listen(text));

export function Said() {
  const [text, set] = useState('');
  useEffect(() => {
    let timer = 0;
    const listen = (said) => {
      set(said);
      clearTimeout(timer);
      timer = setTimeout(() => set(''), 6000);
    };
    listeners.add(listen);
    return () => listeners.delete(listen);
  }, []);
  return html`<div class="said" role="status">${text}</div>`;
}

const CIRCLE = 'M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12';
const SHAPES = {
  circle: [CIRCLE], clock: [CIRCLE, 'M8 4.5V8l2.5 1.5'], square: ['M3 3h10v10h-10z'],
  half: [CIRCLE, 'fM8 2a6 6 0 0 1 0 12z'], check: ['M2.5 8.5l3.6 3.8L13.5 4'], cross: ['M3 3l10 10', 'M13 3l-10 10'],
  slash: [CIRCLE, 'M4 12L12 4'], loop: ['M13.5 8a5.5 5.5 0 1 1-2-4.2', 'M13.5 1.5v3h-3'],
  grave: ['M2.5 2.5h11v11h-11z', 'M5.5 5.5l5 5', 'M10.5 5.5l-5 5'], dot: ['fM8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10'],
  arrow: ['M8 2v9', 'M4 8l4 4l4-4'], warn: ['M8 2l6.5 11.5h-13z', 'M8 6.5v3'],
};
const STATES = {
  blocked: ['square', 'none'], pending: ['circle', 'none'], scheduled: ['clock', 'none'], retrying: ['loop', 'warn'],
  running: ['half', 'busy'], cancelling: ['slash', 'warn'], completed: ['check', 'good'], failed: ['cross', 'bad'],
  dead: ['grave', 'bad'], cancelled: ['slash', 'none'], idle: ['circle', 'good'], draining: ['arrow', 'warn'],
  error: ['warn', 'bad'], terminated: ['square', 'none'], ended: ['square', 'none'], live: ['dot', 'good'],
  expired: ['clock', 'none'], revoked: ['slash', 'bad'], ready: ['check', 'good'], on: ['check', 'good'],
  off: ['warn', 'warn'], warming_up: ['half', 'busy'], not_installed: ['square', 'none'], no_room: ['warn', 'bad'],
  firing: ['warn', 'bad'], ok: ['check', 'good'], done: ['check', 'good'], shed: ['warn', 'warn'], hold: ['warn', 'warn'],
  refuse: ['warn', 'bad'],
  held: ['slash', 'warn'], paused: ['square', 'none'], submitted: ['check', 'good'], skipped: ['slash', 'none'], refused: ['warn', 'bad'],
};

const UNKNOWN = ['circle', 'none'];

/** The shape of a state, in a square of 16. */
export const Shape = ({ word }) => SHAPES[(STATES[word] ?? UNKNOWN)[0]].map((path) => path[0] === 'f'
  ? html`<path class="full" d=${path.slice(1)} />` : html`<path d=${path} />`);
/** The tone of a state, as the styles call it. */
Shape.tone = (word) => (STATES[word] ?? UNKNOWN)[1];

/** A state, by its shape and its word. */
export const State = ({ word }) => html`<span class="state tone-${Shape.tone(word)}"><svg viewBox="0 0 16 16" aria-hidden="true">
  <${Shape} word=${word} /></svg>${String(word).replaceAll('_', ' ')}</span>`;

/** A moment: how long ago, and when in its title. */
export const When = ({ at }) => at
  ? html`<time datetime=${at} title=${clock(at)}>${ago(at)}</time>` : html`<span class="quiet">–</span>`;

/** A moment in full. */
export const At = ({ at }) => at
  ? html`<time datetime=${at}>${clock(at)}</time> <span class="quiet">(${ago(at)})</span>` : '–';

let isArrival = false;
/** The next heading is that of a page to which somebody went: it gets the focus. */
export const arrive = () => { isArrival = true; };

/** The heading of a page, which is also the document's, and what can be done on the page. */
export function Head({ title, children, lead }) {
  const heading = useRef(null);
  useEffect(() => { document.title = `${title} · Cofferdam`; }, [title]);
  useEffect(() => {
    if (!isArrival) return;
    isArrival = false;
    scrollTo(0, 0);
    heading.current.focus();
  }, []);
  return html`<div class="head"><h1 tabindex="-1" ref=${heading}>${title}</h1><div class="actions">${children}</div></div>
    ${lead && html`<p class="lead">${lead}</p>`}`;
}

const HINTS = {
  unreachable: 'It is tried again by itself. Look whether the host runs, and whether its address is right.',
  no_answer: 'The host is there but slow. It is tried again by itself.',
  forbidden: 'Your key does not have the scope for this. An administrator can make one that has it.',
  rate_limited: 'Your key makes more requests than it may. It is tried again by itself.',
  draining: 'This host ends. If others share its storage, open this page there.',
  invalid_cursor: 'This page of the list is gone. Go back to the newest.',
};

/** What went wrong and what to do now. */
export function Wrong({ error, again }) {
  const hint = HINTS[error.code];
  return html`<div class="note wrong" role="alert">
    <p><strong>${error.detail ?? String(error)}</strong></p>
    <p class="small quiet">${hint && html`${hint} `}${error.code && html`<code>${error.code}</code>`}</p>
    ${again && html`<p><button onClick=${again}>Try again</button></p>`}
  </div>`;
}

/** Nothing to show, and what to do about it. */
export const Empty = ({ title, command, children }) => html`<div class="empty">
  <p>${title}</p>${children && html`<p class="quiet">${children}</p>`}
  ${command && html`<pre class="command" tabindex="0" role="region" aria-label="A command to begin with">${command}</pre>`}</div>`;

/** What was loaded, or that it is being loaded, or why it cannot be. */
export function Loaded({ of, children }) {
  return html`${of.error && html`<${Wrong} error=${of.error} again=${of.again} />`}
    ${of.data ? children(of.data) : !of.error && html`<p class="quiet" aria-busy="true">Loading …</p>`}`;
}

/** A table. A column is `[name, cell(row), class]`; `label` says what the table has. */
export const Table = ({ label, columns, rows, id }) => html`<div class="scroll"><table>
  <caption class="sr">${label}</caption>
  <thead><tr>${columns.map(([name, , style]) => html`<th scope="col" class=${style}>${
    name || html`<span class="sr">what can be done</span>`}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr key=${id(row)}>${
    columns.map(([, cell, style]) => html`<td class=${style}>${cell(row)}</td>`)}</tr>`)}</tbody></table></div>`;

/** Pairs of names and values. */
export const Facts = ({ of }) => html`<dl class="facts">${of.filter(Boolean).map(([name, value]) =>
  html`<dt>${name}</dt><dd>${value ?? '–'}</dd>`)}</dl>`;

let fields = 0;
/** A control with its label. `as` is input, select or textarea. */
export function Field({ label, hint, as = 'input', children, ...rest }) {
  const [id] = useState(() => `field-${fields += 1}`);
  const control = hint ? { ...rest, 'aria-describedby': `${id}-hint` } : rest;
  return html`<div class="field"><label for=${id}>${label}</label>
    <${as} id=${id} autocomplete="off" ...${control}>${children}</${as}>
    ${hint && html`<small id=${`${id}-hint`}>${hint}</small>`}</div>`;
}

export const Check = ({ label, ...rest }) =>
  html`<label class="check"><input type="checkbox" ...${rest} /> ${label}</label>`;

/** A choice among words; `''` is any of them. */
export const Choice = ({ label, value, words, any = 'any', onPick, ...rest }) => html`
  <${Field} as="select" label=${label} value=${value} onChange=${(event) => onPick(event.target.value)} ...${rest}>
    ${any !== null && html`<option value="">${any}</option>`}
    ${words.map((word) => html`<option value=${word} selected=${word === value}>${word.replaceAll('_', ' ')}</option>`)}
  </${Field}>`;

/** A dialog that is open for as long as it is there. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-label=${title}><h2>${title}</h2>${children}</dialog>`;
}

/** A button for something that changes the host. With `ask` it asks first. */
export function Action({ name, run, ask, harm, main, done }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const here = useRef(null);
  const close = () => { setAsking(false); setError(null); here.current?.focus(); };
  const act = async () => {
    setBusy(true);
    setError(null);
    try {
      const told = await run();
      setAsking(false);
      here.current?.focus();
      say(told ?? done ?? `${name}: done`);
    } catch (failure) {
      setError(failure);
      setAsking(true);
    } finally {
      setBusy(false);
    }
  };
  const style = [harm && 'harm', main && 'main'].filter(Boolean).join(' ');
  return html`<button ref=${here} class=${style} disabled=${busy} onClick=${() => ask ? setAsking(true) : act()}>${name}</button>
    ${asking && html`<${Dialog} title=${name} onClose=${close}>
      ${ask && html`<p>${ask}</p>`}
      ${error && html`<${Wrong} error=${error} />`}
      <div class="actions"><button class="main" disabled=${busy} onClick=${act}>${error ? 'Try again' : name}</button>
        <button onClick=${close}>Leave it</button></div></${Dialog}>`}`;
}

/** Text of a guest or a caller, as text. */
export const Text = ({ label, text, cut }) => html`<pre tabindex="0" role="region" aria-label=${label}>${text}</pre>
  ${cut && html`<p class="small quiet">This is not all of it.</p>`}`;

/** Why a module is held back, and until when. */
export const Held = ({ by, children }) => html`<div class="note">
  <p><${State} word="held" /> Its module has failed ${by.failures} times in a row and is held back
    ${by.state === 'half_open' ? ' while one attempt is tried' : ` for another ${duration(by.wait_ms)}`}.</p>
  <p class="small quiet">${by.reason}</p>${children}</div>`;

/** A measure against what is allowed. */
export function Bar({ name, used, most, show }) {
  const part = most ? Math.min(1, used / most) : 0;
  const words = most ? `${show(used)} of ${show(most)}` : `${show(used)}, no limit`;
  return html`<span class="quiet">${name}</span>
    <div class="bar" role="img" aria-label=${`${name}: ${words}`}><i class=${part > .9 ? 'high' : ''} style=${{ width: `${part * 100}%` }}></i></div>
    <span>${words}</span>`;
}

/** Copies text, where the browser lets pages do that. */
export const Copy = ({ text, name = 'Copy' }) => navigator.clipboard && html`<button onClick=${() =>
  navigator.clipboard.writeText(text).then(() => say('Copied'))}>${name}</button>`;
