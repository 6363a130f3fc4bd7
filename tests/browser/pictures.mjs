// The pictures of README.md: five minutes of a host that works, and a task that failed.

import { clean, open, picture, settled, visit } from './browser.mjs';

/** Samples in the picture, and how far they are apart. */
const SAMPLES = 60;
const EVERY_MS = 5000;
const SIZE = { width: 1200, height: 740 };

export async function pictures(browser, site) {
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
