// pg-boss's flows. Hand-driven, the worker asks for the release of what may begin after every batch; as shipped,
// pg-boss does that by itself every five seconds.
import { createRequire } from "node:module";
import { kind, main, modules, parents, url } from "./clients.mjs";

const { PgBoss } = createRequire(`${modules}/`)("pg-boss");

const QUEUE = "nodes";
const BATCH = 500;
const PAUSE_MS = 5;
const isDriven = kind === "driven";

const boss = new PgBoss({ connectionString: url, max: 20, supervise: !isDriven });
boss.on("error", (error) => console.error(String(error)));
await boss.start();
await boss.createQueue(QUEUE);

const waiting = new Map();
const flow = parents.map((of, node) => ({
  ref: `n${node}`,
  name: QUEUE,
  data: {},
  dependsOn: of.map((parent) => `n${parent}`),
}));
const last = flow.at(-1).ref;

async function work() {
  for (;;) {
    const jobs = await boss.fetch(QUEUE, { batchSize: BATCH });
    if (jobs.length > 0) {
      await boss.complete(QUEUE, jobs.map((job) => job.id));
      for (const job of jobs) {
        waiting.get(job.id)?.();
        waiting.delete(job.id);
      }
    }
    if (isDriven) await boss.resolveFlow();
    else if (jobs.length === 0) await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

work();
await main(async () => {
  const made = await boss.flow(flow);
  await new Promise((done) => waiting.set(made[last], done));
});
