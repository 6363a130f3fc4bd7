// Timers and the part of the event loop that scripts see. The Rust half drains the job queue,
// sleeps for the time `tick` answers, and calls it again until nothing is left to wait for.
import { define, host } from "./host.js";

const LONGEST_DELAY = 2 ** 31 - 1;
const waiting = new Map();
let lastId = 0;
let order = 0;

class Timeout {
  constructor(id) {
    this.id = id;
    Object.defineProperty(this, "id", { enumerable: false });
  }
  ref() {
    return this;
  }
  unref() {
    const timer = waiting.get(this.id);
    if (timer) timer.idle = true;
    return this;
  }
  hasRef() {
    return !waiting.get(this.id)?.idle;
  }
  [Symbol.toPrimitive]() {
    return this.id;
  }
}

function add(callback, delay, args, repeat) {
  if (typeof callback !== "function") throw new TypeError('The "callback" argument must be of type function');
  delay = Number(delay);
  if (!(delay >= 1 && delay <= LONGEST_DELAY)) delay = delay === 0 && repeat === "immediate" ? 0 : 1;
  const id = ++lastId;
  waiting.set(id, { callback, args, due: host.now() + delay, order: ++order, every: repeat === true ? delay : null, idle: false });
  return new Timeout(id);
}

const clear = (timer) => void waiting.delete(timer instanceof Timeout ? timer.id : Number(timer));

function earliest() {
  let first = null;
  for (const [id, timer] of waiting) {
    if (first === null || timer.due < first[1].due || (timer.due === first[1].due && timer.order < first[1].order)) first = [id, timer];
  }
  return first;
}

// Runs one due timer. Answers 0 if one ran, the milliseconds to wait, or -1 when nothing is left.
export function tick() {
  if (waiting.size === 0) return -1;
  const [id, timer] = earliest();
  const now = host.now();
  if (timer.due > now) {
    for (const other of waiting.values()) if (!other.idle) return timer.due - now;
    return -1;
  }
  if (timer.every === null) waiting.delete(id);
  else {
    timer.due = now + timer.every;
    timer.order = ++order;
  }
  timer.callback(...timer.args);
  return 0;
}

export const timers = {
  setTimeout: (callback, delay = 1, ...args) => add(callback, delay, args, false),
  setInterval: (callback, delay = 1, ...args) => add(callback, delay, args, true),
  setImmediate: (callback, ...args) => add(callback, 0, args, "immediate"),
  clearTimeout: clear,
  clearInterval: clear,
  clearImmediate: clear,
};

// Through a promise, so that what the callback throws is reported like any unhandled rejection.
const resolved = Promise.resolve();
const then = Promise.prototype.then;
export function queueMicrotask(callback) {
  if (typeof callback !== "function") throw new TypeError('The "callback" argument must be of type function');
  Reflect.apply(then, resolved, [() => void callback()]);
}

export const timerPromises = {
  setTimeout: (delay, value) => new Promise((resolve) => add(resolve, delay, [value], false)),
  setImmediate: (value) => new Promise((resolve) => add(resolve, 0, [value], "immediate")),
  async *setInterval(delay, value) {
    for (;;) {
      await timerPromises.setTimeout(delay);
      yield value;
    }
  },
};

define(globalThis, { ...timers, queueMicrotask });
