// pg-boss as its manual tunes it for throughput: large batches, fetched again at once while they come back
// full, and workers that are woken by NOTIFY. Its jobs stay in their table after they completed.
import { createRequire } from "node:module";
import { data, main, modules, url } from "./phases.mjs";

const require = createRequire(`${modules}/`);
const { PgBoss } = require("pg-boss");
const { Pool } = require("pg");

const QUEUE = "noop";
const BATCH = 5000;
const working = { batchSize: 500, localConcurrency: 2, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
const pool = new Pool({ connectionString: url, max: 2 });

async function started() {
  const boss = new PgBoss({ connectionString: url, max: 24, supervise: false, schedule: false, useListenNotify: true });
  boss.on("error", (error) => console.error(String(error)));
  await boss.start();
  return boss;
}

await main({
  async setUp() {
    const boss = await started();
    await boss.createQueue(QUEUE, { notify: true });
    await boss.stop({ graceful: false });
  },
  async fill(jobs) {
    const boss = await started();
    for (let added = 0; added < jobs; added += BATCH) {
      const size = Math.min(BATCH, jobs - added);
      await boss.insert(QUEUE, Array.from({ length: size }, () => ({ data })));
    }
    await pool.query("ANALYZE");
    await boss.stop({ graceful: false });
  },
  async left() {
    const { rows } = await pool.query("SELECT count(*)::int AS jobs FROM pgboss.job WHERE state < 'completed'");
    return rows[0].jobs;
  },
  async client() {
    const boss = await started();
    return { submit: () => boss.send(QUEUE, data), end: () => boss.stop({ graceful: false }) };
  },
  async work(handler) {
    const boss = await started();
    await boss.work(QUEUE, working, async (jobs) => {
      for (const _job of jobs) handler();
    });
    return { end: () => boss.stop({ graceful: true, timeout: 5000 }) };
  },
});
