// Dead letters: tasks that used up several attempts, or lost too many hosts.

import { html } from '../ui.js';
import { Empty, Head } from '../parts.js';
import { TaskList } from '../tasklist.js';

const Page = ({ query, who }) => html`<${Head} title="Dead letters"
    lead="Tasks that failed after several attempts, or under which too many hosts died. None goes on by itself: read why, and retry it." />
  <${TaskList} path="dead" query=${query} admin=${who.admin} fixed=${{ label: 'dead' }} empty=${html`
    <${Empty} title="There are no dead letters.">
      A task with <code>retry.max_attempts</code> above one comes here when it has used all of them.</${Empty}>`} />`;

export const deadPage = { path: 'dead', name: 'Dead letters', group: 'Watch', go: 'd', Page };
