// Every page, in light and in dark, in a wide window and in a narrow one.

import assert from 'node:assert/strict';
import { inspect, open, picture, visit } from './browser.mjs';

/** What each page is called here, its address and its title; `site` has the ids of what is there. */
export const pages = (site) => Object.entries({
  overview: ['', 'Overview'], tasks: ['tasks', 'Tasks'], 'tasks-failed': ['tasks?status=failed', 'Tasks'], 'tasks-none': ['tasks?module=none', 'Tasks'],
  'task-failed': [`tasks/${site.failed}`, 'trap'], 'task-completed': [`tasks/${site.completed}`, 'echo'], 'task-running': [`tasks/${site.running}`, 'sleep'],
  dead: ['dead', 'Dead letters'], batches: ['batches', 'Batches'], batch: [`batches?id=${site.batch}`, 'Batches'], try: ['try', 'Try it'],
  workflows: ['workflows', 'Workflows'], workflow: [`workflows/${site.workflow}`, 'nightly report'],
  'try-module': ['try?kind=module', 'Try it'], submit: ['submit', 'Submit a task'], 'submit-form': [`submit?module=${site.described}`, 'Submit a task'],
  'submit-again': [`submit?from=${site.completed}`, 'Run again, changed'], modules: ['modules', 'Modules'],
  module: [`module?name=${site.described}`, site.described], sessions: ['sessions', 'Sessions'], host: ['host', 'This host'],
  workers: ['workers', 'Workers'], tenants: ['tenants', 'Tenants'], keys: ['keys', 'Keys'], schedules: ['schedules', 'Schedules'],
  secrets: ['secrets', 'Secrets'], alerts: ['alerts', 'Alerts'], audit: ['audit', 'Audit'], nothing: ['nothing', 'There is no such page'],
});

export async function everyPage(browser, site) {
  for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 360]]) {
    const tab = await open(browser, site.base, { colorScheme, width });
    for (const [name, [where, title]] of pages(site)) {
      await visit(tab, where, title);
      await inspect(tab, `${name} in ${colorScheme}, ${width} wide`);
      await picture(tab.page, `${name}-${colorScheme}-${width}`);
    }
    await theKeyboard(tab);
    await tab.context.close();
  }
  await switches(browser, site);
}

/** The list of keys is a dialog that keeps the focus and gives it back. */
async function theKeyboard(tab) {
  const { page } = tab;
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await inspect(tab, 'the list of keys');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

/** The switch of colours holds against the system's, and over a reload. */
async function switches(browser, site) {
  const tab = await open(browser, site.base, { colorScheme: 'light' });
  await visit(tab, 'host', 'This host');
  const ground = () => tab.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await tab.page.getByLabel('Colours').selectOption('dark');
  const dark = await ground();
  assert.notEqual(light, dark);
  await tab.page.reload();
  assert.equal(await ground(), dark);
  await tab.context.close();
}
