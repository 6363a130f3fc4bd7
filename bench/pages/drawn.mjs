// Loads every page from nothing, several times, and goes to it as often within the open tab. Prints how long each
// took until it showed what it had asked for, by the browser's own clock, and what it asked. How long an answer of
// two bytes takes to be drawn says how much of that is the browser's.

import { launch, open } from '../../tests/browser/browser.mjs';
import { pages } from '../../tests/browser/pages.mjs';

const site = JSON.parse(process.env.COFFERDAM_SITE);
const loads = Number(process.env.COFFERDAM_LOADS);

/** Puts into a tab what tells when a page has its title and nothing that is still loading, and begins with the first. */
function prepare(first) {
  window.whenDrawn = (title) => new Promise((done) => {
    const look = () => {
      const isDrawn = document.title === title && document.querySelector('main h1') && !document.querySelector('main [aria-busy="true"]');
      if (isDrawn) done(performance.now());
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  window.drawn = window.whenDrawn(first);
}

/** A tab for a page of this title, and the requests that it makes of the API. */
async function tab(browser, title) {
  const opened = await open(browser, site.base);
  const requests = new Set();
  opened.page.on('response', (answer) => {
    const { origin, pathname, search } = new URL(answer.url());
    const isAsked = answer.request().resourceType() === 'fetch' && answer.request().method() === 'GET';
    const isWhole = answer.status() === 200 && !pathname.endsWith('/events');
    if (origin === site.base && isAsked && isWhole) requests.add(pathname + search);
  });
  await opened.page.addInitScript(prepare, title);
  return { ...opened, requests };
}

/** Milliseconds from nothing until a page is drawn, and then each time that somebody goes to it. */
async function timed(browser, where, title) {
  const whole = `${title} · Cofferdam`;
  const drawn = [];
  const moved = [];
  const asked = new Set();
  for (let load = 0; load < loads; load += 1) {
    const { page, context, requests } = await tab(browser, whole);
    await page.goto(`${site.base}/monitoring#/${where}`);
    drawn.push(await page.evaluate(() => window.drawn));
    requests.forEach((request) => asked.add(request));
    await page.evaluate(async () => {
      location.hash = '#/sessions';
      await window.whenDrawn('Sessions · Cofferdam');
    });
    moved.push(await page.evaluate(async ([where, title]) => {
      const begun = performance.now();
      location.hash = `#/${where}`;
      return await window.whenDrawn(title) - begun;
    }, [where, whole]));
    await context.close();
  }
  return { drawn_ms: drawn, moved_ms: moved, requests: [...asked] };
}

/** Milliseconds from nothing until the browser has drawn an answer of two bytes. */
async function floor(browser) {
  const { page, context } = await open(browser, site.base);
  await page.goto(`${site.base}/livez`);
  const drawn = await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => done(performance.now()))));
  await context.close();
  return drawn;
}

const browser = await launch();
const told = { floor_ms: [], pages: [] };
try {
  for (let load = 0; load < loads; load += 1) told.floor_ms.push(await floor(browser));
  for (const [name, [where, title]] of pages(site)) {
    told.pages.push({ name, ...await timed(browser, where, title) });
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
