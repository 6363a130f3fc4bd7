// The pages, in the order of the navigation. A page is one file and its line here. It says of itself: its
// `path`; with `name` and `group` it is in the navigation; `go` is its key after g; `of` is the page it belongs to;
// `admin` that it is for administrators.

import { overviewPage } from './pages/overview.js';
import { alertsPage } from './pages/alerts.js';
import { tasksPage } from './pages/tasks.js';
import { taskPage } from './pages/task.js';
import { deadPage } from './pages/dead.js';
import { batchesPage } from './pages/batches.js';
import { workflowsPage } from './pages/workflows.js';
import { workflowPage } from './pages/workflow.js';
import { tryPage } from './pages/try.js';
import { submitPage } from './pages/submit.js';
import { schedulesPage } from './pages/schedules.js';
import { modulesPage } from './pages/modules.js';
import { modulePage } from './pages/module.js';
import { sessionsPage } from './pages/sessions.js';
import { hostPage } from './pages/host.js';
import { workersPage } from './pages/workers.js';
import { tenantsPage } from './pages/tenants.js';
import { keysPage } from './pages/keys.js';
import { secretsPage } from './pages/secrets.js';
import { auditPage } from './pages/audit.js';

export const GROUPS = ['Watch', 'Run', 'Operate'];

export const PAGES = [
  overviewPage,
  alertsPage,
  tasksPage,
  taskPage,
  deadPage,
  batchesPage,
  workflowsPage,
  workflowPage,
  tryPage,
  submitPage,
  schedulesPage,
  modulesPage,
  modulePage,
  sessionsPage,
  hostPage,
  workersPage,
  tenantsPage,
  keysPage,
  secretsPage,
  auditPage,
];
