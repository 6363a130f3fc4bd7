// BullMQ's flows, on its PostgreSQL backend or on Redis. A flow is a tree: the parent waits for its children.
import { createRequire } from "node:module";
import { kind, main, modules, parents, url } from "./clients.mjs";

const { FlowProducer, Worker, createPostgresBackend } = createRequire(`${modules}/`)("bullmq");

const QUEUE = "nodes";
const CONCURRENCY = 64;
const isPostgres = kind === "postgres";
const connection = isPostgres
  ? { connectionString: url, max: 20, migrate: true }
  : { path: url, maxRetriesPerRequest: null };
const backend = isPostgres ? [createPostgresBackend] : [];

const waiting = new Map();
const worker = new Worker(QUEUE, async () => ({ v: 1 }), { connection, concurrency: CONCURRENCY }, ...backend);
worker.on("completed", (job) => {
  waiting.get(job.id)?.();
  waiting.delete(job.id);
});
await worker.waitUntilReady();
const producer = new FlowProducer({ connection }, ...backend);

const tree = (node, opts) => ({
  name: "node",
  queueName: QUEUE,
  data: {},
  opts: { removeOnComplete: true, ...opts },
  children: parents[node].map((child) => tree(child, {})),
});

let submitted = 0;
await main(async () => {
  const jobId = `w${submitted}`;
  submitted += 1;
  const ended = new Promise((done) => waiting.set(jobId, done));
  await producer.add(tree(parents.length - 1, { jobId }));
  await ended;
});
