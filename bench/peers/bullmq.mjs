// BullMQ as the durable peer of the queue: the same three measurements against a Redis that
// writes each command to its append-only file and syncs it before it answers.
//
// usage: node bullmq.mjs NODE_MODULES SOCKET JOBS SINGLES_SECONDS CONNECTIONS LONE
// prints {"drain_per_s", "singles_per_s", "lone_p50_ms"}
import { createRequire } from "node:module";

const [modules, socket, jobs, seconds, connections, lone] = process.argv.slice(2);
const { Queue, QueueEvents, Worker } = createRequire(`${modules}/`)("bullmq");

const connection = { path: socket, maxRetriesPerRequest: null };
const CONCURRENCY = 50;
const BATCH = 1000;
// A stuck peer must not hold up the benchmark.
const deadline = setTimeout(() => process.exit(3), 300_000);

const options = { removeOnComplete: true };
const data = { input: "0123456789abcdef" };

// Counts completions; `reached(n)` resolves once there are n of them.
function startWorker(name) {
  let completed = 0;
  let wanted = Infinity;
  let resolve;
  const worker = new Worker(name, async (job) => job.data, {
    connection,
    concurrency: CONCURRENCY,
    autorun: false,
  });
  worker.on("completed", () => {
    completed += 1;
    if (completed >= wanted) resolve();
  });
  const reached = (count) =>
    new Promise((done) => {
      [wanted, resolve] = [count, done];
      if (completed >= wanted) done();
    });
  return { worker, reached };
}

async function drain(count) {
  const queue = new Queue("drain", { connection });
  for (let added = 0; added < count; added += BATCH) {
    const size = Math.min(BATCH, count - added);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: "noop", data, opts: options })));
  }
  const { worker, reached } = startWorker("drain");
  await worker.waitUntilReady();
  const all = reached(count);
  const begun = performance.now();
  worker.run();
  await all;
  const perSecond = count / ((performance.now() - begun) / 1000);
  await worker.close();
  await queue.close();
  return perSecond;
}

async function singles(duration, clients) {
  const queue = new Queue("singles", { connection });
  const { worker, reached } = startWorker("singles");
  worker.run();
  await worker.waitUntilReady();
  const begun = performance.now();
  let added = 0;
  const client = async () => {
    while (performance.now() - begun < duration * 1000) {
      await queue.add("noop", data, options);
      added += 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  await reached(added);
  const perSecond = added / ((performance.now() - begun) / 1000);
  await worker.close();
  await queue.close();
  return perSecond;
}

async function pickup(count) {
  const queue = new Queue("lone", { connection });
  const events = new QueueEvents("lone", { connection });
  const { worker } = startWorker("lone");
  worker.run();
  await Promise.all([events.waitUntilReady(), worker.waitUntilReady()]);
  const taken = [];
  for (let at = 0; at < count; at += 1) {
    const begun = performance.now();
    // A job that is removed on completion may be gone before its end can be queried.
    const job = await queue.add("noop", data, { ...options, removeOnComplete: false });
    await job.waitUntilFinished(events, 5000);
    taken.push(performance.now() - begun);
  }
  taken.sort((a, b) => a - b);
  await Promise.all([events.close(), worker.close()]);
  await queue.close();
  return taken[Math.floor(count / 2)];
}

const lonePickup = await pickup(Number(lone));
const singlesRate = await singles(Number(seconds), Number(connections));
const drainRate = await drain(Number(jobs));
console.log(
  JSON.stringify({
    drain_per_s: drainRate,
    singles_per_s: singlesRate,
    lone_p50_ms: lonePickup,
  }),
);
clearTimeout(deadline);
process.exit(0);
