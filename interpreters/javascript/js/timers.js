// Timers and the part of the event loop that scripts see. The Rust half drains the job queue,
// sleeps for the time that `tick` returns, and calls it again until nothing is left to wait for.
import { define, host } from "./host.js";
import { mustBeFunction } from "./faults.js";
import { queueMicrotask } from "./ticks.js";

const LONGEST_DELAY = 2 ** 31 - 1;
const CUSTOM_PROMISE = Symbol.for("nodejs.util.promisify.custom");
// A timer that falls due within this many milliseconds is due: Node counts whole ones.
const CLOCK_STEP = 1;
const waiting = new Map();
const immediates = new Map();
let lastId = 0;
let order = 0;

class Timeout {
  constructor(id, timer) {
    define(this, { id, timer });
  }
  ref() {
    this.timer.idle = false;
    return this;
  }
  unref() {
    this.timer.idle = true;
    return this;
  }
  hasRef() {
    return !this.timer.idle;
  }
  refresh() {
    if (waiting.has(this.id)) Object.assign(this.timer, { due: host.now() + this.timer.delay, order: ++order });
    return this;
  }
  close() {
    clear(this);
    return this;
  }
  [Symbol.toPrimitive]() {
    return this.id;
  }
}
class Immediate extends Timeout {}

function add(callback, delay, args, kind) {
  mustBeFunction(callback);
  delay = Number(delay);
  if (!(delay >= 1 && delay <= LONGEST_DELAY)) delay = 1;
  const id = ++lastId;
  const timer = { callback, args, delay, due: host.now() + delay, order: ++order, repeats: kind === "interval", idle: false };
  waiting.set(id, timer);
  return new Timeout(id, timer);
}

function addImmediate(callback, args) {
  mustBeFunction(callback);
  const id = ++lastId;
  const timer = { callback, args, idle: false };
  immediates.set(id, timer);
  return new Immediate(id, timer);
}

function clear(timer) {
  const id = timer instanceof Timeout ? timer.id : Number(timer);
  waiting.delete(id);
  immediates.delete(id);
}

// The ids to run before the loop reads the clock again: the due timers, and then the immediates of
// this turn.
let turn = [];
let timersNext = true;

function nextTurn(now) {
  if (!timersNext) {
    timersNext = true;
    return [...immediates.keys()];
  }
  timersNext = false;
  const due = [...waiting].filter(([, timer]) => timer.due <= now + CLOCK_STEP);
  return due.sort(([, a], [, b]) => a.due - b.due || a.order - b.order).map(([id]) => id);
}

function run(id, now) {
  const timer = waiting.get(id);
  const immediate = immediates.get(id);
  if (!timer && !immediate) return false;
  if (timer?.repeats) Object.assign(timer, { due: now + timer.delay, order: ++order });
  else clear(id);
  const { callback, args } = timer ?? immediate;
  callback(...args);
  return true;
}

// Runs one callback. Returns 0 if one ran, the milliseconds to wait, or -1 when nothing is left. While requests are on
// their way there is something left.
export function tick(requests) {
  if (waiting.size === 0 && immediates.size === 0) return requests ? Infinity : -1;
  const now = host.now();
  for (let empty = 0; empty < 2; ) {
    while (turn.length) if (run(turn.shift(), now)) return 0;
    turn = nextTurn(now);
    if (turn.length === 0) empty++;
  }
  let first = Infinity;
  let idle = true;
  for (const timer of waiting.values()) {
    first = Math.min(first, timer.due);
    idle &&= timer.idle;
  }
  return idle && waiting.size && !requests ? -1 : first - now;
}

export const timers = {
  setTimeout: (callback, delay = 1, ...args) => add(callback, delay, args, "timeout"),
  setInterval: (callback, delay = 1, ...args) => add(callback, delay, args, "interval"),
  setImmediate: (callback, ...args) => addImmediate(callback, args),
  clearTimeout: clear,
  clearInterval: clear,
  clearImmediate: clear,
};

function promised(delay, value, { signal, ref = true } = {}, kind) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clear(timer);
      reject(signal.reason);
    };
    const done = () => {
      signal?.removeEventListener("abort", abort);
      resolve(value);
    };
    const timer = kind === "immediate" ? addImmediate(done, []) : add(done, delay, [], kind);
    if (!ref) timer.unref();
    signal?.addEventListener("abort", abort, { once: true });
  });
}

export const timerPromises = {
  setTimeout: async (delay, value, options) => promised(delay, value, options, "timeout"),
  setImmediate: async (value, options) => promised(0, value, options, "immediate"),
  async *setInterval(delay, value, options) {
    for (;;) {
      await promised(delay, undefined, options, "timeout");
      yield value;
    }
  },
  scheduler: {
    wait: async (delay, options) => promised(delay, undefined, options, "timeout"),
    yield: async () => promised(0, undefined, {}, "immediate"),
  },
};

for (const name of ["setTimeout", "setImmediate"]) define(timers[name], { [CUSTOM_PROMISE]: timerPromises[name] });

define(globalThis, { ...timers, queueMicrotask });
