// The way to the host: requests with the caller's key, problems, and streams of events.
// It shows nothing, and keeps the key in this tab's session only.

import { parse } from './format.js';

const KEY = 'cofferdam.key';
/** The most of an answer's text that a page reads to show it. */
export const TEXT_MAX = 256 * 1024;
/** The longest single event: a task with its largest texts. */
const EVENT_MAX = 8 * 1024 * 1024;
/** How long an ordinary request may take. */
const PATIENCE_MS = 40_000;

let key = sessionStorage.getItem(KEY);
let refused = () => {};

/** Whether this tab has a key. */
export const hasKey = () => key !== null;

/** Says what happens when the host does not take the key, or misses one. */
export const whenRefused = (then) => { refused = then; };

/** Keeps a key for this tab. Whether it is text that a header can have at all. */
export function signIn(text) {
  if (!/^[!-~]{1,512}$/.test(text)) return false;
  key = text;
  sessionStorage.setItem(KEY, text);
  return true;
}

export function signOut() {
  key = null;
  sessionStorage.removeItem(KEY);
}

/** Why a request was refused, as the host says it, or why it was not answered. */
export class Problem extends Error {
  constructor(status, code, detail, rest = {}, retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, code, detail, rest, retryAfter });
  }
}

/** Sends a request and gives the answer; throws a Problem for any other than 2xx. */
export async function send(method, path, options = {}) {
  const { json, body, headers = {}, signal, patience = PATIENCE_MS } = options;
  const all = new Headers(headers);
  if (key) all.set('authorization', `Bearer ${key}`);
  if (json !== undefined) all.set('content-type', 'application/json');
  const limits = [signal, patience && AbortSignal.timeout(patience)].filter(Boolean);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: all,
      body: json === undefined ? body : JSON.stringify(json),
      signal: AbortSignal.any(limits),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === 'TimeoutError';
    throw new Problem(0, late ? 'no_answer' : 'unreachable', late
      ? 'The host did not answer in time.'
      : 'The host cannot be reached.');
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response) {
  const { text } = await readText(response);
  let said = {};
  try { said = JSON.parse(text); } catch { /* Something between us and the host answered. */ }
  const { code = `http_${response.status}`, detail = response.statusText || 'no reason given' } = said;
  const found = new Problem(response.status, code, detail, said,
    Number(response.headers.get('retry-after')) || 0);
  if (response.status === 401) refused(found);
  return found;
}

/** JSON of a GET, with `query`'s members that say something. */
export async function get(path, query = {}, signal) {
  const pairs = Object.entries(query).filter(([, value]) => value !== '' && value != null);
  const search = new URLSearchParams(pairs).toString();
  return parse(await (await send('GET', search ? `${path}?${search}` : path, { signal })).text());
}

/** Sends JSON, and gives the JSON that comes back; null if nothing does. */
export async function tell(method, path, json, headers) {
  const response = await send(method, path, { json, headers });
  const { text } = await readText(response, EVENT_MAX);
  return text ? parse(text) : null;
}

/** The first `most` bytes of an answer as text, and whether there is more. */
export async function readText(response, most = TEXT_MAX) {
  const reader = response.body?.getReader();
  if (!reader) return { text: '', cut: false };
  const decoder = new TextDecoder();
  let text = '';
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: text + decoder.decode(), cut: false };
    const rest = value.subarray(0, most - read);
    read += value.length;
    text += decoder.decode(rest, { stream: true });
    if (read > most) {
      await reader.cancel();
      return { text, cut: true };
    }
  }
}

/** The events of an answer that streams them, one after the other: `{id, name, data}`. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      if (rest.length > EVENT_MAX) throw new Problem(0, 'event_too_large', 'An event is too large to show.');
      let end;
      while ((end = rest.indexOf('\n\n')) >= 0) {
        const event = { id: null, name: 'message', data: null };
        for (const line of rest.slice(0, end).split('\n')) {
          const value = line.slice(line.indexOf(':') + 1).trimStart();
          if (line.startsWith('id:')) event.id = value;
          else if (line.startsWith('event:')) event.name = value;
          else if (line.startsWith('data:')) event.data = parse(value);
        }
        rest = rest.slice(end + 2);
        if (event.data !== null) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Text of an event of output. */
export function written({ text, base64 }) {
  if (text !== undefined) return text;
  return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
}

/** A path with `parts` that cannot be more than what they are. Names of modules keep their slashes. */
export const path = (base, ...parts) => [base, ...parts.map((part) =>
  String(part).split('/').map(encodeURIComponent).join('/'))].join('/');

/** Saves an answer's bytes as a file, whatever they are: the browser does not show them. */
export async function download(from, name) {
  const response = await send('GET', from, { patience: 0 });
  const bytes = new Blob([await response.arrayBuffer()], { type: 'application/octet-stream' });
  const url = URL.createObjectURL(bytes);
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A key for a change that is made once, however often it is sent. */
export const once = () => Array.from(crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, '0')).join('');
