// node:events: the userland package of Node's module, with Node's later additions.
import EventEmitter from "events/events.js";
import { inspect } from "node-inspect-extracted";
import { define } from "./host.js";
import { coded, mustBeFunction } from "./faults.js";

const ERROR_MONITOR = Symbol("events.errorMonitor");
const CAPTURE = Symbol("kCapture");

const { emit, init } = { emit: EventEmitter.prototype.emit, init: EventEmitter.init };
Object.defineProperty(EventEmitter, "name", { value: "EventEmitter" });
EventEmitter.init = function () {
  init.call(this);
  this[CAPTURE] = false;
};
define(EventEmitter.prototype, {
  emit(event, ...args) {
    if (event === "error") {
      if (this.listenerCount(ERROR_MONITOR)) emit.call(this, ERROR_MONITOR, ...args);
      if (this.listenerCount("error") === 0) {
        if (args[0] instanceof Error) throw args[0];
        throw coded(Error, "ERR_UNHANDLED_ERROR", `Unhandled error. (${typeof args[0] === "string" ? `'${args[0]}'` : inspect(args[0])})`, { context: args[0] });
      }
    }
    return emit.call(this, event, ...args);
  },
});

for (const name of ["addListener", "on", "once", "prependListener", "prependOnceListener", "off", "removeListener"]) {
  const work = EventEmitter.prototype[name];
  define(EventEmitter.prototype, {
    [name](event, listener) {
      return Reflect.apply(work, this, [event, mustBeFunction(listener, "listener")]);
    },
  });
}
// Aliases are the same function.
define(EventEmitter.prototype, { addListener: EventEmitter.prototype.on, removeListener: EventEmitter.prototype.off });

const listen = (emitter, event, listener, way) => (typeof emitter.on === "function" ? emitter[way === "add" ? "on" : "off"](event, listener) : emitter[way === "add" ? "addEventListener" : "removeEventListener"](event, listener));

// An endless sequence of an event's arguments, until its signal or an error ends it.
function on(emitter, event, { signal } = {}) {
  const arrived = [];
  const asking = [];
  let failure = null;
  const told = (...args) => (asking.length ? asking.shift().resolve({ value: args, done: false }) : arrived.push(args));
  const failed = (error) => (asking.length ? asking.shift().reject(error) : (failure = error));
  const stop = () => {
    listen(emitter, event, told, "remove");
    if (event !== "error") listen(emitter, "error", failed, "remove");
    while (asking.length) asking.shift().resolve({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  };
  signal?.throwIfAborted();
  signal?.addEventListener("abort", () => (failed(signal.reason), stop()), { once: true });
  listen(emitter, event, told, "add");
  if (event !== "error") listen(emitter, "error", failed, "add");
  return {
    next() {
      if (arrived.length) return Promise.resolve({ value: arrived.shift(), done: false });
      if (failure) return Promise.reject(failure);
      return new Promise((resolve, reject) => asking.push({ resolve, reject }));
    },
    return: stop,
    throw(error) {
      failed(error);
      return stop();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

Object.assign(EventEmitter, {
  on,
  errorMonitor: ERROR_MONITOR,
  captureRejections: false,
  captureRejectionSymbol: Symbol.for("nodejs.rejection"),
  getEventListeners: (emitter, event) => emitter.listeners?.(event) ?? [],
  setMaxListeners() {},
});

export { EventEmitter };
