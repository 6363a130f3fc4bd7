// What is wrong with the host that answers, by its own rules: their figures, and its memory.

import { html } from '../ui.js';
import { get } from '../api.js';
import { bytes, count, duration } from '../format.js';
import { usePolled } from '../live.js';
import { Bar, Head, Loaded, State, Table, When } from '../parts.js';

const SHOWN = { bytes, bytes_per_second: (value) => `${bytes(value)}/s`, ms: duration, percent: (value) => `${value} %` };
const show = ({ unit }, value) => SHOWN[unit]?.(value) ?? `${count(value)} ${unit}`;
/** What the host does when memory is short. */
const WHAT = {
  shed: 'caches and idle sessions', hold: 'caches and idle sessions, and claims no tasks',
  refuse: 'caches and idle sessions, claims no tasks, and refuses new work',
};
const FIRST = ['firing', 'ok', 'off'];

function Page() {
  const list = usePolled((signal) => get('/v1/alerts', {}, signal), 3000, []);
  return html`<${Head} title="Alerts" lead="Rules by which this host judges itself, once a second. Each host has its own." />
    <${Loaded} of=${list}>${({ items, memory }) => html`
      ${WHAT[memory.pressure] && html`<div class="note wrong" role="alert">
        <p><${State} word=${memory.pressure} /> Memory is short: the host gives up ${WHAT[memory.pressure]}.</p></div>`}
      <div class="bars"><${Bar} name="memory" used=${memory.used_bytes} most=${memory.limit_bytes} show=${bytes} /></div>
      <h2>Rules</h2><${Table} label="Rules" id=${(one) => one.rule}
        rows=${[...items].sort((one, other) => FIRST.indexOf(one.state) - FIRST.indexOf(other.state))} columns=${[
          ['state', (one) => html`<${State} word=${one.state === 'off' ? 'switched_off' : one.state} />`, 'nw'],
          ['rule', (one) => one.rule.replaceAll('_', ' ')], ['severity', (one) => one.severity, 'wide'],
          ['is', (one) => show(one, one.value), 'n'], ['fires from', (one) => one.state === 'off' ? '–' : show(one, one.threshold), 'n wide'],
          ['since', (one) => html`<${When} at=${one.since} />`, 'n wide']]} />`}</${Loaded}>`;
}

export const alertsPage = { path: 'alerts', name: 'Alerts', group: 'Watch', go: 'l', admin: true, Page };
