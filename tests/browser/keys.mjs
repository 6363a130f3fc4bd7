// A host with keys: signing in and out, and making and revoking a key, with the keyboard alone.

import assert from 'node:assert/strict';
import { clean, focusOn, inspect, open, press, said, settled, tabTo, visit } from './browser.mjs';

/** Answers that are refused because of the test's own keys. */
const REFUSED = /status of 40[13] /;

async function enter(page, key) {
  await tabTo(page, 'input API key');
  await page.keyboard.insertText(key);
  await press(page, 'Enter');
}

/** The page asks for a key, says why one does not open, and forgets it when its user leaves. */
export async function signIn(browser, site) {
  const tab = await open(browser, site.keyed, { expected: REFUSED });
  const { page } = tab;
  await visit(tab, 'tasks', 'Sign in');
  await inspect(tab, 'sign in');
  await enter(page, 'cfd_0000000000000000_wrong');
  await page.getByRole('alert').getByText('key_unknown').waitFor();
  await page.getByLabel('API key').fill('');
  await enter(page, site.reader);
  await page.getByRole('heading', { name: 'Tasks' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'Keys' }).count(), 0, 'a reader is offered keys');
  await visit(tab, 'keys', 'Keys');
  await page.getByRole('alert').getByText('forbidden').waitFor();
  await inspect(tab, 'a page that the key does not open');
  const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, location.href].join());
  assert.ok(!kept.includes(site.reader), kept);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await clean(tab, 'sign in');
  await tab.context.close();
}

/** Makes a key, which is shown once and opens the host, and revokes it. */
export async function keys(browser, site) {
  const tab = await open(browser, site.keyed, { expected: REFUSED });
  const { page } = tab;
  await visit(tab, '', 'Sign in');
  await enter(page, site.admin);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await press(page, 'g', 'k');
  await focusOn(page, 'Keys');
  await settled(page);
  await tabTo(page, 'summary Make a key');
  await press(page, 'Enter');
  await tabTo(page, 'input Name');
  await page.keyboard.insertText('by hand');
  await press(page, 'Enter');
  const made = await page.getByRole('region', { name: 'The new key' }).textContent();
  assert.equal(await status(site, made), 200);
  await inspect(tab, 'a key that was made');
  await tabTo(page, 'button Put it away');
  await press(page, 'Enter');
  const row = page.getByRole('row', { name: /by hand/ });
  await row.waitFor();
  await page.getByRole('cell', { name: site.mark }).waitFor();
  assert.ok(!(await page.content()).includes(made), 'the key is still there');
  await revoke(page, row);
  assert.equal(await status(site, made), 401);
  await clean(tab, 'keys');
  await tab.context.close();
}

async function revoke(page, row) {
  await row.getByRole('button', { name: 'Revoke' }).focus();
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Revoke' }).waitFor();
  await press(page, 'Enter');
  await said(page, 'opens nothing any more');
  await row.getByText('revoked').waitFor();
}

/** Makes a tenant, is told what of it is wrong, and removes it. */
export async function tenant(browser, site) {
  const tab = await open(browser, site.base, { expected: /status of 400 / });
  const { page } = tab;
  await visit(tab, 'tenants', 'Tenants');
  await tabTo(page, 'button Make a tenant');
  await press(page, 'Enter');
  await tabTo(page, 'input Name');
  await page.keyboard.insertText('team-b');
  const rules = page.getByLabel('What holds for it, JSON');
  await rules.fill('{"weigth": 3}');
  await page.getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('alert').getByText('weigth').waitFor();
  await inspect(tab, 'a tenant that is refused');
  await rules.fill('{"weight": 3}');
  await page.getByRole('button', { name: 'Keep it' }).click();
  await said(page, 'team-b is as you said');
  await page.getByRole('row', { name: /team-b/ }).getByRole('button', { name: 'Remove' }).focus();
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Remove' }).waitFor();
  await press(page, 'Enter');
  await said(page, 'team-b is gone');
  await clean(tab, 'a tenant');
  await tab.context.close();
}

/** Puts a secret, which is shown nowhere, and forgets it. */
export async function secret(browser, site) {
  const tab = await open(browser, site.base);
  const { page } = tab;
  await visit(tab, '', 'Overview');
  await press(page, 'g', 'c');
  await focusOn(page, 'Secrets');
  await settled(page);
  await tabTo(page, 'summary Put a secret');
  await press(page, 'Enter');
  await tabTo(page, 'input Name');
  await page.keyboard.insertText('token');
  await tabTo(page, 'input Value');
  await page.keyboard.insertText('open sesame');
  await press(page, 'Enter');
  await page.getByRole('cell', { name: 'token', exact: true }).waitFor();
  await inspect(tab, 'a secret');
  const shown = await page.evaluate(() => document.body.innerText + [...document.querySelectorAll('input')].map((input) => input.value));
  assert.ok(!shown.includes('sesame'), shown);
  await tabTo(page, 'button Forget');
  await press(page, 'Enter');
  await page.getByRole('dialog', { name: 'Forget' }).waitFor();
  await press(page, 'Enter');
  await said(page, 'token is forgotten');
  await page.getByRole('cell', { name: 'token', exact: true }).waitFor({ state: 'detached' });
  await clean(tab, 'a secret');
  await tab.context.close();
}

/** Makes the first key of a host, which from then on asks its maker for it. */
export async function firstKey(browser, site) {
  const tab = await open(browser, site.base, { expected: REFUSED });
  const { page } = tab;
  await visit(tab, 'keys', 'Keys');
  await tabTo(page, 'input Name');
  await page.keyboard.insertText('me');
  await press(page, 'Enter');
  const made = await page.getByRole('region', { name: 'The new key' }).textContent();
  await press(page, 'r');
  await tabTo(page, 'button Put it away');
  await press(page, 'Enter');
  await enter(page, made);
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await page.getByRole('cell', { name: 'me', exact: true }).waitFor();
  await clean(tab, 'the first key');
  await tab.context.close();
}

/** How the host with keys answers one. */
async function status(site, key) {
  const answer = await fetch(`${site.keyed}/v1/tasks?limit=1`, { headers: { 'x-api-key': key } });
  return answer.status;
}
