// The measurements of the benchmark `shared`, the same for every peer. A peer's own file says how that
// peer stores a job, stores many, works on them, and how it is seen that none is left.
//
// usage: node PEER.mjs NODE_MODULES URL PHASE NUMBERS...
//   set-up                      brings the schema up to date
//   fill JOBS                   stores that many jobs in bulk: {seconds}
//   drain                       works until none is left: {tasks, seconds}
//   submit SECONDS CLIENTS      stores jobs one by one, each acknowledged after its commit: {tasks, seconds}
//   flow SECONDS CLIENTS        the same, while this process works: from the first submit until none is
//                               left; the clients are a process of their own: {tasks, seconds}
//   flood JOBS                  stores that many in bulk, in a process of their own, while this one works:
//                               {tasks, seconds}
//   pickup JOBS                 lone jobs one after the other: from the call that stores one until its
//                               handler begins, sorted: {ms: [...]}
import { spawn } from "node:child_process";

const [modules, url, phase, first, second] = process.argv.slice(2);
// A stuck peer must not hold up the benchmark.
const DEADLINE_MS = 600_000;
const LOOK_EVERY_MS = 10;
const PAUSE_MS = 5;

export const data = { input: "0123456789abcdef" };
export { modules, url };

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const now = () => performance.now();

// Runs the phase that was asked for. `peer` has:
//   setUp(), fill(jobs), left() → how many jobs are not finished, client() → {submit(), end()},
//   work(handler) → {end()}: calls `handler` at the beginning of each job.
export async function main(peer) {
  const deadline = setTimeout(() => process.exit(3), DEADLINE_MS);
  const seen = await phases[phase](peer, Number(first), Number(second));
  await new Promise((done) => process.stdout.write(JSON.stringify(seen ?? {}), done));
  clearTimeout(deadline);
  process.exit(0);
}

const phases = {
  "set-up": (peer) => peer.setUp(),
  async fill(peer, jobs) {
    const started = now();
    await peer.fill(jobs);
    return { seconds: (now() - started) / 1000 };
  },
  async drain(peer) {
    const jobs = await peer.left();
    let begun = 0;
    const started = now();
    const worker = await peer.work(() => {
      begun += 1;
    });
    while (begun < jobs) await pause(LOOK_EVERY_MS);
    const seconds = await rest(peer, started);
    await worker.end();
    return { tasks: jobs, seconds };
  },
  async submit(peer, seconds, clients) {
    const client = await peer.client(clients);
    const started = now();
    let stored = 0;
    const one = async () => {
      while (now() - started < seconds * 1000) {
        await client.submit();
        stored += 1;
      }
    };
    await Promise.all(Array.from({ length: clients }, one));
    const took = (now() - started) / 1000;
    await client.end();
    return { tasks: stored, seconds: took };
  },
  async flow(peer, seconds, clients) {
    let begun = 0;
    const worker = await peer.work(() => {
      begun += 1;
    });
    const { tasks, seconds: submitting } = await elsewhere("submit", seconds, clients);
    const started = now() - submitting * 1000;
    while (begun < tasks) await pause(LOOK_EVERY_MS);
    const took = await rest(peer, started);
    await worker.end();
    return { tasks, seconds: took };
  },
  async flood(peer, jobs) {
    let begun = 0;
    const worker = await peer.work(() => {
      begun += 1;
    });
    const { seconds: filling } = await elsewhere("fill", jobs);
    const started = now() - filling * 1000;
    while (begun < jobs) await pause(LOOK_EVERY_MS);
    const seconds = await rest(peer, started);
    await worker.end();
    return { tasks: jobs, seconds };
  },
  async pickup(peer, jobs) {
    let wake;
    let picked;
    const worker = await peer.work(() => {
      picked = now();
      wake();
    });
    const client = await peer.client(1);
    const ms = [];
    for (let at = 0; at < jobs; at += 1) {
      const picking = new Promise((done) => {
        wake = done;
      });
      const called = now();
      await client.submit();
      await picking;
      ms.push(picked - called);
      await pause(PAUSE_MS);
    }
    await client.end();
    await worker.end();
    ms.sort((a, b) => a - b);
    return { ms };
  },
};

// Waits until no job is left; gives the seconds since `started`.
async function rest(peer, started) {
  while ((await peer.left()) > 0) await pause(LOOK_EVERY_MS);
  return (now() - started) / 1000;
}

// Runs a phase in a process of its own, so that it does not share a thread with the worker.
async function elsewhere(phase, ...numbers) {
  const [script] = process.argv.slice(1);
  const child = spawn(process.execPath, [script, modules, url, phase, ...numbers].map(String), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (bytes) => {
    said += bytes;
  });
  const code = await new Promise((done) => child.on("close", done));
  if (code !== 0) throw new Error(`${phase} ended with ${code}`);
  return JSON.parse(said);
}
