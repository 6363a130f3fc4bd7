// Drives a browser over /monitoring of hosts that the test has started and given work. It ends with an error at
// the first thing that is not as it should be.

import { launch } from './browser.mjs';
import { everyPage } from './pages.mjs';
import { again, failedTask, heldModule, live, schedule, submit, tryIt, upload, worker, workflow } from './journeys.mjs';
import { firstKey, keys, secret, signIn, tenant } from './keys.mjs';
import { hostile } from './hostile.mjs';
import { pictures } from './pictures.mjs';

const steps = [
  everyPage, failedTask, heldModule, submit, again, schedule, workflow, upload, tryIt, live, hostile, pictures, worker, tenant, secret, signIn, keys, firstKey,
];
const site = JSON.parse(process.env.COFFERDAM_SITE);
const browser = await launch();
try {
  for (const step of steps) {
    const begun = Date.now();
    await step(browser, site);
    console.log(`${step.name}: ${Date.now() - begun} ms`);
  }
} finally {
  await browser.close();
}
