// process, as far as a sandbox has one: arguments, streams and the exit code, no environment.
import { define, host, write } from "./host.js";
import { Buffer } from "./encoding.js";
import { queueMicrotask } from "./timers.js";

const stream = (fd) => ({
  fd,
  isTTY: false,
  columns: 80,
  write(chunk, encoding, done) {
    if (typeof chunk === "string") write(fd, chunk);
    else host.writeBytes(fd, chunk);
    const callback = typeof encoding === "function" ? encoding : done;
    if (callback) queueMicrotask(callback);
    return true;
  },
  end(chunk) {
    if (chunk !== undefined) this.write(chunk);
  },
  on() {
    return this;
  },
  once() {
    return this;
  },
});

let input = "";
let taken = false;
const takeInput = () => (taken ? "" : ((taken = true), input));
export const stdinText = () => input;

const stdin = {
  fd: 0,
  isTTY: false,
  encoding: null,
  setEncoding(encoding) {
    this.encoding = encoding;
    return this;
  },
  on(event, listener) {
    if (event === "data") queueMicrotask(() => input && listener(this.encoding ? takeInput() : Buffer.from(takeInput())));
    else if (event === "end" || event === "close") queueMicrotask(() => queueMicrotask(listener));
    else if (event === "readable") queueMicrotask(listener);
    return this;
  },
  once(event, listener) {
    return this.on(event, listener);
  },
  read() {
    return taken || !input ? null : takeInput();
  },
  resume() {
    return this;
  },
  pause() {
    return this;
  },
  async *[Symbol.asyncIterator]() {
    const text = takeInput();
    if (text) yield this.encoding ? text : Buffer.from(text);
  },
};

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

export const process = {
  title: "cofferdam",
  argv: ["node", "/work/main.js"],
  argv0: "node",
  execArgv: [],
  env: {},
  exitCode: undefined,
  pid: 1,
  ppid: 0,
  platform: "wasi",
  arch: "wasm32",
  version: "v20.0.0",
  versions: { node: "20.0.0", quickjs: "0.16.2" },
  stdin,
  stdout: stream(1),
  stderr: stream(2),
  hrtime,
  cwd: () => "/work",
  uptime: () => host.now() / 1e3,
  memoryUsage: () => host.memory(),
  nextTick: (callback, ...args) => queueMicrotask(() => callback(...args)),
  exit(code = process.exitCode ?? 0) {
    host.exit(Number(code) | 0);
  },
  abort: () => host.exit(134),
  emitWarning: (warning) => write(2, `(node) Warning: ${warning?.message ?? warning}\n`),
  listeners: new Map(),
  on(event, listener) {
    const list = process.listeners.get(event) ?? [];
    process.listeners.set(event, [...list, listener]);
    return process;
  },
  once: (event, listener) => process.on(event, listener),
  off: () => process,
  removeListener: () => process,
};
Object.defineProperty(process, "listeners", { enumerable: false });
Object.defineProperty(process, Symbol.toStringTag, { value: "process" });

export function beginProcess(args, stdin) {
  process.argv.splice(2, Infinity, ...args);
  process.exitCode = undefined;
  input = stdin;
  taken = false;
}

const performance = { now: () => host.now(), timeOrigin: 0, mark() {}, measure() {}, toJSON: () => ({ timeOrigin: performance.timeOrigin }) };
export const setTimeOrigin = () => (performance.timeOrigin = Date.now());

const getRandomValues = (array) => {
  if (array.byteLength > 65536) throw new RangeError("The requested length exceeds 65,536 bytes");
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(host.random(array.byteLength));
  return array;
};
const HEX = (byte) => byte.toString(16).padStart(2, "0");
function randomUUID() {
  const bytes = host.random(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, HEX).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
export const webcrypto = { getRandomValues, randomUUID };

define(Math, { random: host.mathRandom });
define(globalThis, { process, performance, crypto: webcrypto, global: globalThis });
