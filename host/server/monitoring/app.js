// The frame around the pages: who is there, the navigation, the address, keys, and what went wrong.

import { html, render, useState, useEffect, useLayoutEffect, useErrorBoundary } from './ui.js';
import { get, hasKey, signIn, signOut, whenRefused } from './api.js';
import { isPaused, pause, refresh } from './live.js';
import { Check, Dialog, Field, Head, Said, Wrong, arrive, say } from './parts.js';
import { PAGES, GROUPS } from './pages.js';
import { find, go, to } from './address.js';

const MARK = html`<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" fill="none"
  stroke="var(--accent)" stroke-width="2" stroke-dasharray="2.6 1.48" /><circle cx="8" cy="8" r="3" fill="var(--accent)" /></svg>`;
const THEMES = ['system', 'light', 'dark'];

function setTheme(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem('cofferdam.theme', theme);
}

/** The address: which page, with what in its query. */
function address() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  return { path: path.replace(/\/$/, ''), query: Object.fromEntries(new URLSearchParams(search ?? '')) };
}

/** Who is there: nobody yet, somebody with a key or on a host without, an administrator or not. */
async function look() {
  try {
    await get('/v1/workers', { limit: 1 });
    return { admin: true };
  } catch (error) {
    if (error.status === 403 && error.code === 'forbidden') return { admin: false };
    throw error;
  }
}

function SignIn({ why, onKey }) {
  const [text, set] = useState('');
  const [error, setError] = useState(why);
  const submit = (event) => {
    event.preventDefault();
    if (signIn(text.trim())) onKey();
    else setError({ detail: 'That is no key: it begins with cfd_ and has no blanks.', code: 'key_unreadable' });
  };
  const isNews = error && error.code !== 'key_missing';
  return html`<main class="sign"><${Head} title="Sign in" />
    <p class="quiet">This host asks for an API key. It is kept in this tab only, and sent to nobody but this host.</p>
    ${isNews && html`<${Wrong} error=${error} />`}
    <form onSubmit=${submit}><div class="fields one">
      <${Field} label="API key" type="password" value=${text} onInput=${(event) => set(event.target.value)} required
        hint="An administrator makes one with: cofferdam key create --name me --scope run,read" /></div>
      <button class="main">Sign in</button></form></main>`;
}

function Keys({ shortcuts, onShortcuts, onClose }) {
  const rows = [['?', 'this list'], ['/', 'to the first field of the page'], ['r', 'ask the host again'],
    ['p', 'stop or continue what is live'], ...PAGES.filter((page) => page.go).map((page) => [`g ${page.go}`, page.name])];
  return html`<${Dialog} title="Keyboard" onClose=${onClose}>
    <table><caption class="sr">Keys and what they do</caption><thead><tr><th scope="col">key</th><th scope="col">goes to</th></tr></thead>
      <tbody>${rows.map(([key, name]) => html`<tr>
        <td class="nw">${key.split(' ').map((part) => html`<kbd>${part}</kbd> `)}</td><td>${name}</td></tr>`)}</tbody></table>
    <p><${Check} label="Keys without Ctrl or Alt do something" checked=${shortcuts} onChange=${(event) => onShortcuts(event.target.checked)} /></p>
    <div class="actions"><button class="main" onClick=${onClose}>Close</button></div></${Dialog}>`;
}

function Side({ who, here, onKeys, onOut }) {
  const [closed, setClosed] = useState(true);
  const [theme, pick] = useState(localStorage.getItem('cofferdam.theme') ?? 'system');
  const [resting, setResting] = useState(isPaused());
  const stop = () => { pause(!resting); setResting(!resting); };
  const change = (event) => { pick(event.target.value); setTheme(event.target.value); };
  useEffect(() => setClosed(true), [here]);
  const links = (group) => PAGES.filter((page) => page.group === group && (!page.admin || who.admin));
  const isHere = (page) => here && (page === here || page.path === here.of);
  return html`<header class="side ${closed ? 'closed' : ''}">
    <div class="bar-top"><a class="brand" href="#/">${MARK} Cofferdam</a>
      <button class="menu" aria-expanded=${!closed} onClick=${() => setClosed(!closed)}>Menu</button></div>
    <nav aria-label="Pages">${GROUPS.map((group) => html`<h2>${group}</h2><ul>${links(group).map((page) => html`
      <li><a href=${to(page.path)} aria-current=${isHere(page) ? 'page' : null}>${page.name}</a></li>`)}</ul>`)}</nav>
    <div class="foot small">
      <${Check} label="live" checked=${!resting} onChange=${stop} />
      <label>Colours <select value=${theme} onChange=${change}>${THEMES.map((name) =>
        html`<option value=${name} selected=${name === theme}>${name}</option>`)}</select></label>
      <button class="plain" onClick=${onKeys}>Keyboard</button>
      ${hasKey() && html`<button class="plain" onClick=${onOut}>Sign out</button>`}
    </div></header>`;
}

/** The page of the address. A fault in one page leaves the others as they are. */
function Here({ at, who }) {
  const [fault, reset] = useErrorBoundary();
  useEffect(() => { if (fault) reset(); }, [at.path]);
  if (fault) {
    return html`<${Head} title="Something is wrong with this page" />
      <${Wrong} error=${{ detail: String(fault), code: 'page_fault' }} again=${reset} />`;
  }
  const found = find(PAGES, at.path);
  if (!found) return html`<${Head} title="There is no such page" /><p><a href="#/">To the overview</a></p>`;
  return html`<${found.page.Page} key=${at.path} ...${found.params} query=${at.query} who=${who} />`;
}

function useShortcuts(isOn, showKeys) {
  useEffect(() => {
    let before = '';
    const press = (event) => {
      const { target, key } = event;
      const typing = target.closest?.('input, textarea, select, dialog');
      if (!isOn || typing || event.ctrlKey || event.altKey || event.metaKey) return;
      const page = before === 'g' && PAGES.find((one) => one.go === key);
      before = key;
      if (page) go(page.path);
      else if (key === '?') showKeys();
      else if (key === 'r') { refresh(); say('Asked again'); }
      else if (key === 'p') document.querySelector('.side .foot input')?.click();
      else if (key === '/') {
        event.preventDefault();
        document.querySelector('main input, main select, main textarea')?.focus();
      }
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, [isOn]);
}

function App() {
  const [at, setAt] = useState(address());
  const [who, setWho] = useState(null);
  const [refused, setRefused] = useState(null);
  const [error, setError] = useState(null);
  const [keys, showKeys] = useState(false);
  const [shortcuts, setShortcuts] = useState(localStorage.getItem('cofferdam.shortcuts') !== 'off');
  const ask = () => {
    setError(null);
    setRefused(null);
    look().then(setWho, (failure) => failure.status !== 401 && setError(failure));
  };
  useLayoutEffect(() => {
    whenRefused((failure) => { setWho(null); setRefused(failure); });
    const moved = () => setAt((before) => {
      const now = address();
      if (now.path !== before.path) arrive();
      return now;
    });
    addEventListener('hashchange', moved);
    ask();
    return () => removeEventListener('hashchange', moved);
  }, []);
  useShortcuts(shortcuts && who, () => showKeys(true));
  if (refused) return html`<${SignIn} why=${refused} onKey=${ask} />`;
  if (error) return html`<main class="sign"><${Head} title="No answer" /><${Wrong} error=${error} again=${ask} /></main>`;
  if (!who) return html`<main class="sign"><p class="quiet" aria-busy="true">Loading …</p></main>`;
  const keep = (on) => { setShortcuts(on); localStorage.setItem('cofferdam.shortcuts', on ? 'on' : 'off'); };
  const out = () => { signOut(); setWho(null); ask(); };
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector('main h1')?.focus(); }}>To the page</a>
    <div class="frame"><${Side} who=${who} here=${find(PAGES, at.path)?.page} onKeys=${() => showKeys(true)} onOut=${out} />
      <main id="main"><${Here} at=${at} who=${who} /></main></div>
    <${Said} />${keys && html`<${Keys} shortcuts=${shortcuts} onShortcuts=${keep} onClose=${() => showKeys(false)} />`}`;
}

setTheme(localStorage.getItem('cofferdam.theme') ?? 'system');
const root = document.getElementById('app');
root.replaceChildren();
render(html`<${App} />`, root);
