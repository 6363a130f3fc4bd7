// Interpreters that callers keep on this host. Their ids are the right to use them, so only their makers have those.

import { html } from '../ui.js';
import { get } from '../api.js';
import { duration } from '../format.js';
import { usePolled } from '../live.js';
import { Empty, Head, Loaded, State, Table, When } from '../parts.js';

/** The sessions that are shown; a host keeps few. */
const LISTED = 200;

function Page() {
  const list = usePolled((signal) => get('/v1/sessions', {}, signal), 5000, []);
  return html`<${Head} title="Sessions" lead="Interpreters that keep their variables and files between calls, on this host." />
    <${Loaded} of=${list}>${({ items }) => items.length ? html`<${Table} label="Sessions" rows=${items.slice(0, LISTED)} id=${(one) => one.handle} columns=${[
      ['state', (one) => html`<${State} word=${one.state} />${one.error && html` <code>${one.error.kind}</code>`}`, 'nw'],
      ['session', (one) => html`<code>${one.handle}</code>`], ['language', (one) => one.language, 'wide'], ['calls', (one) => one.calls, 'n'],
      ['memory', (one) => `${one.memory_limit_mb} MiB`, 'n wide'], ['idle for at most', (one) => duration(one.idle_timeout_ms), 'n wide'],
      ['made', (one) => html`<${When} at=${one.created_at} />`, 'n wide'], ['ends', (one) => html`<${When} at=${one.expires_at} />`, 'n']]} />`
    : html`<${Empty} title="No session is open." command="cofferdam session start python">
        An agent or a program opens one, or you do on the command line:</${Empty}>`}</${Loaded}>`;
}

export const sessionsPage = { path: 'sessions', name: 'Sessions', group: 'Run', go: 'i', Page };
