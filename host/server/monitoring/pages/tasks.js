// The tasks, newest first, and which of them.

import { html } from '../ui.js';
import { Empty, Head } from '../parts.js';
import { TaskList } from '../tasklist.js';
import { to } from '../address.js';

const Page = ({ query, who }) => html`<${Head} title="Tasks"><a class="button" href=${to('submit')}>Submit a task</a></${Head}>
  <${TaskList} path="tasks" query=${query} admin=${who.admin} empty=${html`
    <${Empty} title="There are no tasks yet." command=${`cofferdam module push hello hello.wasm\ncofferdam task submit hello --data '{"name": "you"}' --wait`}>
      <a href=${to('submit')}>Submit one here</a>, or on the command line:</${Empty}>`} />`;

export const tasksPage = { path: 'tasks', name: 'Tasks', group: 'Watch', go: 't', Page };
