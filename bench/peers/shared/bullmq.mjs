// BullMQ on its PostgreSQL backend. Completed jobs are removed.
import { createRequire } from "node:module";
import { data, main, modules, url } from "./phases.mjs";

const require = createRequire(`${modules}/`);
const { Queue, Worker, createPostgresBackend } = require("bullmq");
const { Pool } = require("pg");

const QUEUE = "noop";
const BATCH = 1000;
const CONCURRENCY = 50;
const connection = { connectionString: url, max: 24, migrate: true };
const options = { removeOnComplete: true };
const pool = new Pool({ connectionString: url, max: 2 });

const queue = () => new Queue(QUEUE, { connection }, createPostgresBackend);

await main({
  async setUp() {
    const made = queue();
    await made.waitUntilReady();
    await made.close();
  },
  async fill(jobs) {
    const filled = queue();
    for (let added = 0; added < jobs; added += BATCH) {
      const size = Math.min(BATCH, jobs - added);
      await filled.addBulk(Array.from({ length: size }, () => ({ name: "noop", data, opts: options })));
    }
    await pool.query("ANALYZE");
    await filled.close();
  },
  async left() {
    const { rows } = await pool.query("SELECT count(*)::int AS jobs FROM bullmq.job WHERE state IN ('waiting', 'active')");
    return rows[0].jobs;
  },
  async client() {
    const submitting = queue();
    await submitting.waitUntilReady();
    return { submit: () => submitting.add("noop", data, options), end: () => submitting.close() };
  },
  async work(handler) {
    const worker = new Worker(QUEUE, async () => handler(), { connection, concurrency: CONCURRENCY }, createPostgresBackend);
    await worker.waitUntilReady();
    return { end: () => worker.close() };
  },
});
