// What guests and callers say is text, whatever it says.

import assert from 'node:assert/strict';
import { inspect, open, visit } from './browser.mjs';

export async function hostile(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  const { mark } = site;
  const pages = [
    [`tasks/${site.hostile_failed}`, 'its message, its metadata and its output'], [`tasks/${site.hostile_done}`, 'its result and its files'],
    [`module?name=${site.hostile_module}`, 'its summary and its schema'], [`submit?module=${site.hostile_module}`, 'a form of its schema'],
    ['modules', 'the list of modules'], ['tasks', 'the list of tasks'],
  ];
  for (const [where, what] of pages) {
    await visit(tab, where);
    const text = await page.locator('main').innerText();
    assert.ok(where === 'tasks' || text.includes(mark), `${where} does not show ${what}: ${text}`);
    await unhurt(page, what);
    await inspect(tab, what);
  }
  await code(tab, site);
  await tab.context.close();
}

/** Nothing of it became an element, and none of it ran. */
async function unhurt(page, what) {
  const hurt = await page.evaluate(() => [typeof window.hurt, document.querySelectorAll('img[src="x"], svg[onload], main script').length]);
  assert.deepEqual(hurt, ['undefined', 0], what);
}

/** Code that prints, raises and names files so. */
async function code(tab, { mark }) {
  const { page } = tab;
  await visit(tab, 'try', 'Try it');
  const text = JSON.stringify(mark);
  await page.getByLabel('Python', { exact: true }).fill(
    `open(${text}.replace("/", "") + ".png", "w").write("no picture")\nprint(${text})\nraise Exception(${text})`);
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('region', { name: 'Traceback' }).getByText(mark).waitFor();
  await page.getByText('.png', { exact: false }).first().waitFor();
  await unhurt(page, 'code');
  await inspect(tab, 'hostile code');
}
