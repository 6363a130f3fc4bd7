// graphile-worker as its manual tunes it for throughput: a local queue, completions in batches.
import { createRequire } from "node:module";
import { data, main, modules, url } from "./phases.mjs";

const require = createRequire(`${modules}/`);
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");
const { Pool } = require("pg");

const silent = new Logger(() => () => {});
const BATCH = 5000;
const worker = {
  connectionString: url,
  concurrentJobs: 24,
  maxPoolSize: 24,
  pollInterval: 2000,
  localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};
const pool = new Pool({ connectionString: url, max: 24 });

await main({
  setUp: () => runMigrations({ connectionString: url, logger: silent }),
  async fill(jobs) {
    const utils = await makeWorkerUtils({ pgPool: pool, logger: silent });
    for (let added = 0; added < jobs; added += BATCH) {
      const size = Math.min(BATCH, jobs - added);
      const job = { identifier: "noop", payload: data };
      await utils.addJobs(Array.from({ length: size }, () => job));
    }
    await pool.query("ANALYZE");
    await utils.release();
  },
  async left() {
    const { rows } = await pool.query("SELECT count(*)::int AS jobs FROM graphile_worker._private_jobs");
    return rows[0].jobs;
  },
  async client() {
    const utils = await makeWorkerUtils({ pgPool: pool, logger: silent });
    return { submit: () => utils.addJob("noop", data), end: () => utils.release() };
  },
  async work(handler) {
    const runner = await run({
      preset: { worker },
      logger: silent,
      noHandleSignals: true,
      taskList: { noop: async () => handler() },
    });
    return { end: () => runner.stop() };
  },
});
