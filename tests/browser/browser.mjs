// A browser that notices everything a page must not do: errors, violations of its policy, requests to others.

import fs from 'node:fs';
import assert from 'node:assert/strict';
import path from 'node:path';
import { createRequire } from 'node:module';

const packages = createRequire(path.join(process.env.COFFERDAM_BROWSER, 'node_modules/'));
const { chromium } = packages('playwright-core');
const axe = fs.readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');

/** Where pictures are kept. */
const SHOTS = path.join(process.env.COFFERDAM_BROWSER, 'pictures');
/** How long anything may take on a busy machine. */
const PATIENCE_MS = 30_000;

export const launch = () => chromium.launch({
  executablePath: process.env.COFFERDAM_CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});

/** A tab on `base`. What `expected` matches is no fault: answers that the test itself provokes.
 *  With `clock` the tab's time begins then, and goes on when it is told to. */
export async function open(browser, base, { colorScheme = 'light', width = 1280, expected = /^$/, clock = null } = {}) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const faults = [];
  const note = (fault) => { if (!expected.test(fault)) faults.push(fault); };
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) note(`${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => note(`uncaught: ${error.stack}`));
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== 'blob:' && origin !== base) note(`a request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener('securitypolicyviolation', (event) =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
  });
  if (clock !== null) await page.clock.install({ time: clock });
  return { page, faults, base, context };
}

/** Goes to a page of the site and waits until it is there, with nothing that is still loading. */
export async function visit({ page, base }, where, title) {
  await page.goto(`${base}/monitoring#/${where}`);
  // The page before is there until this one has its title.
  if (title) await page.waitForFunction((wanted) => document.title === wanted, `${title} · Cofferdam`);
  await settled(page);
}

/** Waits until nothing is loading. */
export const settled = (page) => page.waitForFunction(() =>
  document.querySelector('main h1') && !document.querySelector('main [aria-busy="true"]'));

/** No fault so far, nothing that assistive technology stumbles over, no width beyond the window's. */
export async function inspect({ page, faults }, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, html }) => `${id}: ${target} ${html}`));
  });
  assert.deepEqual(found, [], `${what}: axe`);
  await clean({ page, faults }, what);
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${what} is ${content} wide in a window of ${window}`);
}

/** No fault so far. */
export async function clean({ page, faults }, what) {
  assert.deepEqual(faults, [], what);
  assert.deepEqual(await page.evaluate(() => window.violations), [], `${what}: policy`);
}

export async function picture(page, name, whole = true) {
  fs.mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: whole });
}

/** What has the focus, as it is called. */
const focused = (page) => page.evaluate(() => {
  const { activeElement: here } = document;
  const label = here.labels?.[0]?.textContent ?? here.getAttribute('aria-label') ?? here.textContent;
  return `${here.tagName.toLowerCase()} ${label.trim()}`;
});

/** Presses Tab until something called so has the focus. */
export async function tabTo(page, wanted, most = 80) {
  const passed = [];
  for (let presses = 0; presses < most; presses += 1) {
    const here = await focused(page);
    if (here === wanted || (wanted instanceof RegExp && wanted.test(here))) return;
    passed.push(here);
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${wanted}, but to ${passed.join(' | ')}`);
}

/** Types keys, one after the other. */
export async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

/** Waits until something called so has the focus. */
export async function focusOn(page, wanted) {
  await page.waitForFunction((text) => document.activeElement.textContent.trim() === text, wanted);
}

/** Waits until the page says this in passing. */
export const said = (page, text) => page.locator('.said', { hasText: text }).waitFor();
