// Node features that a sandbox lacks: a script that uses one gets one sentence that says why.
import { define } from "./host.js";
import { coded, unavailable } from "./faults.js";

const NETWORK = "the network is closed to this code, but for fetch() where it has a grant (`grants.http`); give it the data in `files`, `stdin` or `input`";
const PROCESSES = "a sandbox starts no other processes";
const THREADS = "a sandbox has one thread; run the work in this one";
const ENGINE = "the interpreter is QuickJS and not V8";
const WHY = {
  http: NETWORK, https: NETWORK, http2: NETWORK, net: NETWORK, tls: NETWORK, dgram: NETWORK, dns: NETWORK, "dns/promises": NETWORK,
  child_process: PROCESSES, cluster: PROCESSES, worker_threads: THREADS,
  v8: ENGINE, vm: ENGINE, inspector: ENGINE, "inspector/promises": ENGINE, repl: ENGINE, trace_events: ENGINE, wasi: ENGINE, async_hooks: ENGINE, diagnostics_channel: ENGINE,
  zlib: "the interpreter has no compression", tty: "there is no terminal", test: "the test runner is not part of this interpreter", domain: "it is deprecated in Node too", sea: ENGINE, sqlite: "there is no database in the sandbox", punycode: "it is deprecated in Node too; new URL() converts host names", constants: "use fs.constants or os.constants",
};

// The error for a Node module that is not available, or undefined for any other name.
export function absentModule(name) {
  const bare = name.startsWith("node:") ? name.slice(5) : name;
  if (!Object.hasOwn(WHY, bare)) return undefined;
  return unavailable(`The Node module '${bare}'`, WHY[bare]);
}

export function unknownModule(name, available) {
  const names = `The modules are ${available.join(", ")}, and files in the working directory by a relative path`;
  return coded(Error, "MODULE_NOT_FOUND", `Cannot find module '${name}': no npm packages are installed here, and none can be. ${names}`);
}

const constructed = (name, why) => ({ [name]: class {
  constructor() {
    throw unavailable(name, why);
  }
} })[name];

for (const name of ["WebSocket", "XMLHttpRequest", "EventSource"]) define(globalThis, { [name]: constructed(name, NETWORK) });
define(globalThis, { Worker: constructed("Worker", THREADS) });
