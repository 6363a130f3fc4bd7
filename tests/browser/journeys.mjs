// What people come for, with the keyboard alone.

import assert from 'node:assert/strict';
import { clean, focusOn, inspect, open, press, said, settled, tabTo, visit } from './browser.mjs';

/** Finds a task that failed, reads why, and retries it. */
export async function failedTask(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 't');
  await focusOn(page, 'Tasks');
  await press(page, '/');
  await page.keyboard.type('failed');
  await page.waitForURL(/status=failed/);
  await settled(page);
  await tabTo(page, /^a trap, task /);
  await press(page, 'Enter');
  await focusOn(page, 'trap');
  await page.getByText('integer divide by zero').waitFor();
  await tabTo(page, 'button Retry');
  await press(page, 'Enter');
  await said(page, 'It is pending again');
  await page.goBack();
  await focusOn(page, 'Tasks');
  assert.match(page.url(), /status=failed/);
  await clean(tab, 'a failed task');
  await tab.context.close();
}

/** Finds a module that is held back because it failed again and again, and lets it run again. */
export async function heldModule(browser, site) {
  for (let failures = 0; failures < 5; failures += 1) {
    await fetch(`${site.base}/v1/run/trap`, { method: 'POST' });
  }
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, 'modules', 'Modules');
  await tabTo(page, 'a trap');
  await press(page, 'Enter');
  await page.getByText('integer divide by zero').waitFor();
  await inspect(tab, 'a module that is held back');
  await tabTo(page, 'button Let it run again');
  await press(page, 'Enter');
  await said(page, 'It runs again');
  await page.getByText('integer divide by zero').waitFor({ state: 'detached' });
  await clean(tab, 'a module that runs again');
  await tab.context.close();
}

/** Fills in the form that was made from a module's schema, and follows the task to its result. */
export async function submit(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, `module?name=${site.described}`, site.described);
  await page.locator('main').getByRole('link', { name: 'Submit a task', exact: true }).focus();
  await press(page, 'Enter');
  await page.getByLabel('width', { exact: true }).waitFor();
  await tabTo(page, 'input width');
  await press(page, 'Control+a');
  await page.keyboard.type('640');
  await tabTo(page, 'button Submit');
  await press(page, 'Enter');
  await focusOn(page, site.described);
  await page.getByRole('region', { name: 'Result' }).getByText('"width": 640').waitFor();
  await clean(tab, 'a task that was submitted');
  await tab.context.close();
}

/** Runs a task again, and a number that JavaScript would round is as it was. */
export async function again(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, `tasks/${site.completed}`, 'echo');
  await page.getByRole('region', { name: 'Input' }).getByText(site.large).waitFor();
  await page.getByRole('link', { name: 'Run again, changed' }).focus();
  await press(page, 'Enter');
  await focusOn(page, 'Run again, changed');
  await settled(page);
  await tabTo(page, 'button Submit');
  await press(page, 'Enter');
  await focusOn(page, 'echo');
  await page.getByRole('region', { name: 'Result' }).getByText(site.large).waitFor();
  await clean(tab, 'a task that runs again');
  await tab.context.close();
}

/** Makes a schedule, runs it at once, pauses it, and removes it. */
export async function schedule(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 'e');
  await focusOn(page, 'Schedules');
  await settled(page);
  await tabTo(page, 'button Make a schedule');
  await press(page, 'Enter');
  await tabTo(page, 'input Name');
  await page.keyboard.insertText('weekly');
  const asked = `{"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "task": {"module": "echo", "input": ${site.large}}}`;
  await page.getByLabel('What holds for it, JSON').fill(asked);
  await tabTo(page, 'button Keep it');
  await press(page, 'Enter');
  const row = page.getByRole('row', { name: /weekly/ });
  await row.getByText('Europe/Berlin').waitFor();
  await inspect(tab, 'a schedule');
  await row.getByRole('button', { name: 'Run now' }).focus();
  await press(page, 'Enter');
  await said(page, 'weekly has submitted its task');
  await row.getByRole('button', { name: 'Pause' }).focus();
  await press(page, 'Enter');
  await row.getByText('paused').waitFor();
  const kept = await (await fetch(`${site.base}/v1/schedules/weekly`)).text();
  assert.ok(kept.includes(site.large), kept);
  await row.getByRole('button', { name: 'Remove' }).focus();
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Remove' }).waitFor();
  await press(page, 'Enter');
  await row.waitFor({ state: 'detached' });
  await clean(tab, 'a schedule');
  await tab.context.close();
}

/** Finds a workflow that waits for a signal, gives it, sees it fail, and has its failed node tried again. */
export async function workflow(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 'f');
  await focusOn(page, 'Workflows');
  await settled(page);
  await tabTo(page, 'a nightly report');
  await press(page, 'Enter');
  await focusOn(page, 'nightly report');
  await page.getByRole('link', { name: 'approval, blocked' }).waitFor();
  await inspect(tab, 'a workflow that waits');
  await tabTo(page, 'button Signal approved');
  await press(page, 'Enter');
  await said(page, 'approved is given');
  await page.getByRole('link', { name: 'publish, failed' }).waitFor();
  await page.getByRole('link', { name: 'after, skipped' }).waitFor();
  await page.getByText('parent_failed:publish').waitFor();
  await inspect(tab, 'a workflow that has failed');
  await tabTo(page, 'button Retry');
  await press(page, 'Enter');
  await said(page, 'Run 2 has begun');
  await page.getByText('integer divide by zero').waitFor();
  await page.getByRole('link', { name: 'publish, failed' }).focus();
  await press(page, 'Enter');
  await focusOn(page, 'trap');
  await clean(tab, 'a workflow');
  await tab.context.close();
}

/** Uploads a module, and removes it. */
export async function upload(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, 'modules', 'Modules');
  await tabTo(page, 'summary Upload a module');
  await press(page, 'Enter');
  const script = { name: 'twice.py', mimeType: 'text/x-python', buffer: Buffer.from('def run(input):\n    return input * 2\n') };
  await page.getByLabel('File').setInputFiles(script);
  await tabTo(page, 'button Upload');
  await press(page, 'Enter');
  await focusOn(page, 'twice.py');
  await settled(page);
  await tabTo(page, 'button Remove');
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Remove' }).waitFor();
  await press(page, 'Enter');
  await focusOn(page, 'Modules');
  await clean(tab, 'a module that was uploaded');
  await tab.context.close();
}

/** Runs code, sees what it prints while it runs, and what it gives. */
export async function tryIt(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 'y');
  await focusOn(page, 'Try it');
  await press(page, '/', 'Control+a');
  const code = 'print("a line")\nopen("table.csv", "w").write("1,2")\n{"answer": 6 * 7}';
  await page.keyboard.insertText(code);
  await press(page, 'Control+Enter');
  await page.getByRole('region', { name: 'Result' }).getByText('"answer": 42').waitFor();
  await page.getByRole('region', { name: 'stdout' }).getByText('a line').waitFor();
  await page.getByText('table.csv').waitFor();
  await inspect(tab, 'code that has run');
  await press(page, 'Control+a');
  await page.keyboard.insertText('def f():\n    raise ValueError("not today")\nf()');
  await press(page, 'Control+Enter');
  await page.getByRole('region', { name: 'Traceback' }).getByText('line 2').waitFor();
  await inspect(tab, 'code that has failed');
  await clean(tab, 'try it');
  await tab.context.close();
}

/** Output arrives while a task runs, and nothing is asked for while nobody looks or after somebody has left. */
export async function live(browser, site) {
  const tab = await open(browser, site.base, { clock: Date.now() });
  const { page } = tab;
  const closed = () => page.waitForEvent('requestfailed', (request) => request.url().endsWith('/events'));
  await visit(tab, `tasks/${site.talking}`, 'say-and-sleep');
  await page.getByRole('region', { name: 'stdout' }).getByText('.').waitFor();
  await Promise.all([closed(), show(page, false)]);
  const resumed = page.waitForRequest(/events/);
  await show(page, true);
  assert.ok(Number((await resumed).headers()['last-event-id']) >= 1, 'it does not go on where it was');
  await Promise.all([closed(), page.evaluate(() => { location.hash = '#/host'; })]);
  await focusOn(page, 'This host');
  await settled(page);
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await show(page, false);
  await page.clock.runFor(120_000);
  assert.deepEqual(asked, [], 'a hidden page asks');
  const answer = page.waitForResponse(/readyz/);
  await show(page, true);
  await answer;
  await clean(tab, 'live');
  await tab.context.close();
}

/** Whether the tab is shown, as the page sees it. */
const show = (page, isShown) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, !isShown);

/** Drains the worker, and undoes it. */
export async function worker(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 'w');
  await focusOn(page, 'Workers');
  await settled(page);
  await tabTo(page, 'button Drain');
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Drain' }).waitFor();
  await inspect(tab, 'a question before a change');
  await press(page, 'Enter');
  await said(page, 'takes no more tasks');
  await page.getByRole('cell', { name: 'draining' }).waitFor();
  await tabTo(page, 'button Take tasks again');
  await press(page, 'Enter');
  await said(page, 'takes tasks again');
  await page.getByRole('cell', { name: /idle|running/ }).waitFor();
  await clean(tab, 'a worker');
  await tab.context.close();
}
