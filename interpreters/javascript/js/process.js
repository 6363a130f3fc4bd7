// process, as far as a sandbox has it: arguments, streams, events and the exit code.
import { EventEmitter } from "./events.js";
import { define, host, place, write, WORK } from "./host.js";
import { beginInput, standardInput, stderr, stdout } from "./stdio.js";
import { forgetTicks, nextTick } from "./ticks.js";
import { outOfRange, unavailable, wrongType } from "./faults.js";
import { statFor } from "./fs/call.js";

const hrtime = (since) => {
  const now = host.now();
  let parts = [Math.floor(now / 1e3), Math.floor((now % 1e3) * 1e6)];
  if (since) {
    parts = [parts[0] - since[0], parts[1] - since[1]];
    if (parts[1] < 0) parts = [parts[0] - 1, parts[1] + 1e9];
  }
  return parts;
};
hrtime.bigint = () => BigInt(Math.floor(host.now() * 1e6));

// An exit code as Node accepts it: an integer, or a string that contains one.
function integerCode(code) {
  if (code === undefined || code === null) return code;
  const number = typeof code === "string" && /^\s*-?\d+\s*$/.test(code) ? Number(code) : code;
  if (typeof number !== "number") throw wrongType("code", "of type number", code);
  if (!Number.isInteger(number)) throw outOfRange("code", "an integer", code);
  return number;
}

let chosenCode;
let leaving = false;
let capture = null;
export const exitCode = () => (Number(chosenCode ?? 0) & 0xff);

// Whether there are listeners. A script without listeners ends properly whatever it did to the
// language's globals.
const heard = (event) => process._events?.[event] !== undefined;

// Calls the exit listeners, once.
export function emitExit(code) {
  if (leaving) return;
  leaving = true;
  if (code !== undefined) chosenCode = code;
  if (heard("exit")) process.emit("exit", chosenCode ?? 0);
}

const none = (name, why) => () => {
  throw unavailable(`process.${name}`, why);
};

const Process = { process() {} }.process;
Process.prototype = Object.create(EventEmitter.prototype, { constructor: { value: Process, configurable: true, writable: true } });
export const process = Object.create(Process.prototype);
EventEmitter.call(process);
const members = {
  title: "node",
  version: "v20.0.0",
  versions: { node: "20.0.0", quickjs: "0.16.2" },
  arch: "wasm32",
  platform: "wasi",
  release: { name: "node" },
  argv: ["node", `${WORK}/main.js`],
  argv0: "node",
  execArgv: [],
  execPath: "/usr/bin/node",
  env: {},
  pid: 1,
  ppid: 0,
  features: {},
  config: { target_defaults: {}, variables: {} },
  get stdin() {
    return standardInput();
  },
  stdout,
  stderr,
  get exitCode() {
    return chosenCode;
  },
  set exitCode(code) {
    chosenCode = integerCode(code) ?? undefined;
  },
  hrtime,
  cwd: () => place.cwd,
  chdir(directory) {
    place.cwd = statFor("chdir", directory);
  },
  uptime: () => host.now() / 1e3,
  memoryUsage: Object.assign(() => ({ ...host.memory(), external: 0, arrayBuffers: 0 }), { rss: () => host.memory().rss }),
  cpuUsage: () => ({ user: Math.floor(host.now() * 1e3), system: 0 }),
  resourceUsage: () => ({ userCPUTime: Math.floor(host.now() * 1e3), systemCPUTime: 0, maxRSS: host.memory().rss / 1024 }),
  umask: () => 0o22,
  nextTick,
  exit(code) {
    const chosen = integerCode(code);
    if (chosen !== undefined && chosen !== null) chosenCode = chosen;
    emitExit();
    host.exit(exitCode());
  },
  reallyExit: (code) => host.exit(Number(code) & 0xff),
  abort: () => host.exit(134),
  kill: none("kill", "a sandbox has no other processes and no signals"),
  binding: none("binding", "the interpreter is not V8"),
  dlopen: none("dlopen", "a sandbox loads no native add-ons"),
  emitWarning(warning, options, code) {
    const type = typeof options === "string" ? options : (options?.type ?? "Warning");
    const error = warning instanceof Error ? warning : Object.assign(new Error(warning), { name: type });
    const number = typeof code === "string" ? code : options?.code;
    if (number) error.code = number;
    nextTick(() => {
      write(2, `(node:1) ${number ? `[${number}] ` : ""}${error.name}: ${error.message}\n`);
      process.emit("warning", error);
    });
  },
  hasUncaughtExceptionCaptureCallback: () => capture !== null,
  setUncaughtExceptionCaptureCallback(callback) {
    if (callback !== null && typeof callback !== "function") throw wrongType("fn", "of type function or null", callback);
    capture = callback;
  },
};
Object.defineProperties(process, Object.getOwnPropertyDescriptors(members));
Object.defineProperty(process, Symbol.toStringTag, { value: "process", configurable: true });

// Whether the script has a listener for uncaught errors.
export function takesUncaught(error, origin) {
  if (capture) {
    capture(error);
    return true;
  }
  if (heard("uncaughtExceptionMonitor")) process.emit("uncaughtExceptionMonitor", error, origin);
  return heard("uncaughtException") && process.emit("uncaughtException", error, origin);
}

export const takesRejection = (reason, promise) => heard("unhandledRejection") && process.emit("unhandledRejection", reason, promise);

export function beginProcess(args, stdin) {
  process.argv.splice(2, Infinity, ...args);
  chosenCode = undefined;
  leaving = false;
  forgetTicks();
  beginInput(stdin);
}

// The listeners may give the event loop something to do.
export const emitBeforeExit = () => void (heard("beforeExit") && process.emit("beforeExit", chosenCode ?? 0));

define(Math, { random: host.mathRandom });
define(globalThis, { process, global: globalThis });
