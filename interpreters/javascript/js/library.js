// The small Node modules that scripts lean on: path, util, events, assert and readline.
import * as inspecting from "node-inspect-extracted";
import { queueMicrotask } from "./timers.js";

const { inspect, format } = inspecting;

const normalizeParts = (path) => {
  const parts = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !path.startsWith("/")) parts.push(part);
  }
  return parts.join("/");
};

export const path = {
  sep: "/",
  delimiter: ":",
  normalize(text) {
    const body = normalizeParts(text);
    const whole = (text.startsWith("/") ? "/" : "") + body;
    return whole === "" ? "." : body && text.endsWith("/") ? `${whole}/` : whole;
  },
  join: (...parts) => path.normalize(parts.filter((part) => part !== "").join("/") || "."),
  resolve(...parts) {
    let whole = "";
    for (const part of [...parts].reverse()) {
      if (part) whole = whole ? `${part}/${whole}` : part;
      if (whole.startsWith("/")) break;
    }
    return `/${normalizeParts(whole.startsWith("/") ? whole : `/work/${whole}`)}`;
  },
  isAbsolute: (text) => text.startsWith("/"),
  dirname(text) {
    const cut = text.replace(/\/+$/, "").lastIndexOf("/");
    return cut < 0 ? "." : cut === 0 ? "/" : text.slice(0, cut);
  },
  basename(text, suffix = "") {
    const name = text.replace(/\/+$/, "").split("/").pop();
    return suffix && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  },
  extname(text) {
    const name = path.basename(text);
    const dot = name.lastIndexOf(".");
    return dot <= 0 ? "" : name.slice(dot);
  },
  parse(text) {
    const base = path.basename(text);
    const ext = path.extname(text);
    const dir = path.dirname(text);
    return { root: text.startsWith("/") ? "/" : "", dir: text.includes("/") ? dir : "", base, ext, name: base.slice(0, base.length - ext.length) };
  },
  format: ({ dir, root = "", base, name = "", ext = "" }) => (dir ? `${dir}/` : root) + (base ?? name + ext),
  relative(from, to) {
    const a = path.resolve(from).split("/").filter(Boolean);
    const b = path.resolve(to).split("/").filter(Boolean);
    while (a.length && b.length && a[0] === b[0]) a.shift(), b.shift();
    return [...a.map(() => ".."), ...b].join("/");
  },
};
path.posix = path;

function same(a, b, strict) {
  if (strict ? Object.is(a, b) : a == b || (a !== a && b !== b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof RegExp && b instanceof RegExp) return String(a) === String(b);
  if (a instanceof Error && (a.message !== b.message || a.name !== b.name)) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (a instanceof Map) return b instanceof Map && a.size === b.size && [...a].every(([key, value]) => b.has(key) && same(value, b.get(key), strict));
  if (a instanceof Set) return b instanceof Set && a.size === b.size && [...a].every((value) => b.has(value) || [...b].some((other) => same(value, other, strict)));
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key], strict));
}

const promisify = (fn) =>
  fn[promisify.custom] ?? ((...args) => new Promise((resolve, reject) => fn(...args, (error, value) => (error ? reject(error) : resolve(value)))));
promisify.custom = Symbol.for("nodejs.util.promisify.custom");
globalThis.setTimeout[promisify.custom] = (delay, value) => new Promise((resolve) => globalThis.setTimeout(resolve, delay, value));

const is = (name) => (value) => Object.prototype.toString.call(value) === `[object ${name}]`;
export const util = {
  ...inspecting,
  inspect,
  format,
  promisify,
  callbackify: (fn) => (...args) => {
    const callback = args.pop();
    fn(...args).then((value) => callback(null, value), callback);
  },
  inherits: (child, parent) => void Object.setPrototypeOf(child.prototype, parent.prototype),
  deprecate: (fn) => fn,
  isDeepStrictEqual: (a, b) => same(a, b, true),
  types: { isDate: is("Date"), isRegExp: is("RegExp"), isMap: is("Map"), isSet: is("Set"), isPromise: is("Promise"), isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView) },
  TextEncoder: globalThis.TextEncoder,
  TextDecoder: globalThis.TextDecoder,
};

export class EventEmitter {
  #listeners = new Map();
  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }
  prependListener(event, listener) {
    this.#listeners.set(event, [listener, ...(this.#listeners.get(event) ?? [])]);
    return this;
  }
  once(event, listener) {
    const wrapped = (...args) => {
      this.off(event, wrapped);
      listener.apply(this, args);
    };
    wrapped.listener = listener;
    return this.on(event, wrapped);
  }
  off(event, listener) {
    const list = this.#listeners.get(event) ?? [];
    const at = list.findLastIndex((entry) => entry === listener || entry.listener === listener);
    if (at >= 0) this.#listeners.set(event, list.toSpliced(at, 1));
    return this;
  }
  emit(event, ...args) {
    const list = this.#listeners.get(event) ?? [];
    if (list.length === 0 && event === "error") throw args[0] instanceof Error ? args[0] : new Error(`Unhandled error. (${inspect(args[0])})`);
    for (const listener of list) listener.apply(this, args);
    return list.length > 0;
  }
  removeAllListeners(event) {
    if (event === undefined) this.#listeners.clear();
    else this.#listeners.delete(event);
    return this;
  }
  listenerCount(event) {
    return this.#listeners.get(event)?.length ?? 0;
  }
  listeners(event) {
    return (this.#listeners.get(event) ?? []).map((entry) => entry.listener ?? entry);
  }
  eventNames() {
    return [...this.#listeners.keys()].filter((event) => this.listenerCount(event));
  }
  setMaxListeners() {
    return this;
  }
}
Object.assign(EventEmitter.prototype, { addListener: EventEmitter.prototype.on, removeListener: EventEmitter.prototype.off });
EventEmitter.EventEmitter = EventEmitter;
EventEmitter.once = (emitter, event) => new Promise((resolve, reject) => {
  emitter.once(event, (...args) => resolve(args));
  if (event !== "error") emitter.once("error", reject);
});

export class AssertionError extends Error {
  constructor({ message, actual, expected, operator }) {
    super(message);
    this.name = "AssertionError";
    Object.assign(this, { code: "ERR_ASSERTION", actual, expected, operator });
  }
}
const check = (passed, given, fallback, details) => {
  if (passed) return;
  if (given instanceof Error) throw given;
  throw new AssertionError({ message: given ?? fallback(), ...details });
};
const compare = (operator, test, words) => (actual, expected, message) =>
  check(test(actual, expected), message, () => `Expected ${words}:\n\n${inspect(actual)} !== ${inspect(expected)}\n`, { actual, expected, operator });
const matches = (error, expected) =>
  expected === undefined ||
  (expected instanceof RegExp ? expected.test(String(error))
  : typeof expected === "function" ? expected.prototype !== undefined && error instanceof expected || expected === Error || expected.call({}, error) === true
  : Object.keys(expected).every((key) => (expected[key] instanceof RegExp ? expected[key].test(error[key]) : same(error[key], expected[key], true))));

export const assert = (value, message) => check(value, message, () => "The expression evaluated to a falsy value", { actual: value, expected: true, operator: "==" });
Object.assign(assert, {
  ok: assert,
  AssertionError,
  fail: (message = "Failed") => check(false, message),
  equal: compare("==", (a, b) => a == b || (a !== a && b !== b), "values to be loosely equal"),
  notEqual: compare("!=", (a, b) => a != b, "values to be loosely unequal"),
  strictEqual: compare("strictEqual", Object.is, "values to be strictly equal"),
  notStrictEqual: compare("notStrictEqual", (a, b) => !Object.is(a, b), '"actual" to be strictly unequal to "expected"'),
  deepEqual: compare("deepEqual", (a, b) => same(a, b, false), "values to be loosely deep-equal"),
  deepStrictEqual: compare("deepStrictEqual", (a, b) => same(a, b, true), "values to be strictly deep-equal"),
  notDeepStrictEqual: compare("notDeepStrictEqual", (a, b) => !same(a, b, true), '"actual" not to be strictly deep-equal to "expected"'),
  match: compare("match", (text, pattern) => pattern.test(text), "the input to match the regular expression"),
  throws(fn, expected, message) {
    try {
      fn();
    } catch (error) {
      if (!matches(error, typeof expected === "string" ? undefined : expected)) throw error;
      return;
    }
    check(false, message, () => "Missing expected exception.");
  },
  doesNotThrow: (fn) => void fn(),
  async rejects(work, expected) {
    try {
      await (typeof work === "function" ? work() : work);
    } catch (error) {
      if (!matches(error, expected)) throw error;
      return;
    }
    check(false, undefined, () => "Missing expected rejection.");
  },
});
assert.strict = assert;

class Interface extends EventEmitter {
  #lines = null;
  constructor({ input }) {
    super();
    this.input = input;
    queueMicrotask(() => this.#pump());
  }
  async #take() {
    let text = "";
    for await (const chunk of this.input) text += chunk.toString();
    const lines = text.split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    return lines;
  }
  async #pump() {
    if (this.#lines || this.listenerCount("line") + this.listenerCount("close") === 0) return;
    this.#lines = [];
    for (const line of await this.#take()) this.emit("line", line);
    this.emit("close");
  }
  async *[Symbol.asyncIterator]() {
    this.#lines ??= await this.#take();
    while (this.#lines.length) yield this.#lines.shift();
  }
  async question(prompt, callback) {
    globalThis.process.stdout.write(prompt);
    this.#lines ??= await this.#take();
    const line = this.#lines.shift() ?? "";
    return typeof callback === "function" ? callback(line) : line;
  }
  setPrompt() {}
  prompt() {}
  close() {}
}
export const readline = { createInterface: (options) => new Interface(options.input ? options : { input: options }), Interface };
