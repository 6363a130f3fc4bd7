// Loads every page from nothing, several times, and prints how long each took until it showed what it had asked
// for, by the browser's own clock, and what it asked.

import { launch, open } from '../../tests/browser/browser.mjs';
import { pages } from '../../tests/browser/pages.mjs';

const site = JSON.parse(process.env.COFFERDAM_SITE);
const loads = Number(process.env.COFFERDAM_LOADS);

/** Notes in the page when it has its title and nothing that is still loading. */
function watch(title) {
  const look = () => {
    const isDrawn = document.title === title && document.querySelector('main h1') && !document.querySelector('main [aria-busy="true"]');
    if (isDrawn) window.drawn = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

const browser = await launch();
const told = [];
try {
  for (const [name, [where, title]] of pages(site)) {
    const drawn = [];
    const requests = new Set();
    for (let load = 0; load < loads; load += 1) {
      const { page, context } = await open(browser, site.base);
      page.on('response', (answer) => {
        const { origin, pathname, search } = new URL(answer.url());
        const isAsked = answer.request().resourceType() === 'fetch' && answer.request().method() === 'GET';
        const isWhole = answer.status() === 200 && !pathname.endsWith('/events');
        if (origin === site.base && isAsked && isWhole) requests.add(pathname + search);
      });
      await page.addInitScript(watch, `${title} · Cofferdam`);
      await page.goto(`${site.base}/monitoring#/${where}`);
      await page.waitForFunction(() => window.drawn);
      drawn.push(await page.evaluate(() => window.drawn));
      await context.close();
    }
    told.push({ name, drawn_ms: drawn, requests: [...requests] });
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
