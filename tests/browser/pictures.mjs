// The pictures of README.md: five minutes of a host that works, a task that failed, and a workflow on its way.

import { clean, open, picture, settled, visit } from './browser.mjs';

/** Samples in the picture, and how far they are apart. */
const SAMPLES = 60;
const EVERY_MS = 5000;
const SIZE = { width: 1200, height: 740 };

/** A workflow of which some nodes are done, one runs, one failed and others wait. */
const IMPORT = {
  name: 'order import', on_failure: 'continue',
  nodes: [
    { id: 'fetch', module: 'echo', input: { orders: 412 } },
    { id: 'validate', module: 'echo', input: { $from: 'fetch' } },
    ...['europe', 'americas', 'asia'].map((id) => ({ id, module: 'echo', input: { $from: 'validate' } })),
    { id: 'merge', module: 'echo', input: { $from: 'europe' } },
    { id: 'report', module: 'sleep', limits: { timeout_ms: 600_000 } },
    { id: 'preview', module: 'images/thumbnail', input: { width: 4001 }, retry: { max_attempts: 1 } },
    { id: 'approval', wait: { signal: 'approved', timeout_ms: 600_000 } },
    { id: 'publish', module: 'echo', input: { $from: 'report' } },
    { id: 'notify', module: 'echo', input: { $from: 'publish' } },
  ],
  edges: [
    ['fetch', 'validate'], ...['europe', 'americas', 'asia'].flatMap((id) => [['validate', id], [id, 'merge']]),
    ['merge', 'report'], ['merge', 'preview'], ['merge', 'approval'], ['report', 'publish'], ['approval', 'publish'],
    ['publish', 'notify'],
  ],
};

async function workflow(browser, site) {
  const asked = (path, method, json) => fetch(site.base + path, {
    method, headers: { 'content-type': 'application/json' }, body: json && JSON.stringify(json),
  }).then((answer) => answer.json());
  const { workflow_id: id } = await asked('/v1/workflows', 'POST', IMPORT);
  const tab = await open(browser, site.base);
  await tab.page.setViewportSize(SIZE);
  await visit(tab, `workflows/${id}`, IMPORT.name);
  for (const node of [/^preview, (failed|dead)/, /^report, running/]) await tab.page.getByRole('link', { name: node }).waitFor();
  await picture(tab.page, 'order-import', false);
  await clean(tab, 'the workflow in pictures');
  await tab.context.close();
  await asked(`/v1/workflows/${id}`, 'DELETE');
}

export async function pictures(browser, site) {
  await workflow(browser, site);
  const tab = await open(browser, site.base, { clock: Date.now() - SAMPLES * EVERY_MS });
  const { page } = tab;
  await page.setViewportSize(SIZE);
  await visit(tab, '', 'Overview');
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const work = Math.round(3 + 2 * Math.sin(sample / 7));
    await fetch(`${site.base}/v1/tasks/batch`, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tasks: Array.from({ length: work * 6 }, (_, task) => task % 12 === 11
        ? { module: 'images/thumbnail', input: { width: 4001 } } : { module: 'echo', input: task }) }),
    });
    const told = page.waitForResponse(/\/metrics/);
    await page.clock.runFor(EVERY_MS);
    await told;
  }
  await settled(page);
  await picture(page, 'overview', false);
  await tab.context.close();
  const dark = await open(browser, site.base, { colorScheme: 'dark' });
  await dark.page.setViewportSize(SIZE);
  await visit(dark, `tasks/${site.failed_twice}`);
  await picture(dark.page, 'task', false);
  await clean(dark, 'pictures');
  await dark.context.close();
}
