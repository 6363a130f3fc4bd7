// EventTarget and AbortController, as the web and Node have them.
import { define } from "./host.js";
import { coded, wrongType } from "./faults.js";
import { timers } from "./timers.js";
import { throwLater } from "./ticks.js";

const { DOMException } = globalThis;

class Event {
  #target = null;
  #prevented = false;
  #stopped = false;
  constructor(type, { bubbles = false, cancelable = false, composed = false } = {}) {
    Object.assign(this, { type: String(type), bubbles, cancelable, composed, timeStamp: 0 });
  }
  get target() {
    return this.#target;
  }
  get currentTarget() {
    return this.#target;
  }
  get defaultPrevented() {
    return this.#prevented;
  }
  get stopped() {
    return this.#stopped;
  }
  preventDefault() {
    this.#prevented = this.cancelable;
  }
  stopPropagation() {}
  stopImmediatePropagation() {
    this.#stopped = true;
  }
  static aim(event, target) {
    event.#target = target;
  }
}
const { aim } = Event;
delete Event.aim;

class CustomEvent extends Event {
  constructor(type, options = {}) {
    super(type, options);
    this.detail = options.detail ?? null;
  }
}

class EventTarget {
  #listeners = new Map();
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    const { once = false, signal } = typeof options === "object" && options !== null ? options : {};
    const list = this.#listeners.get(type) ?? [];
    if (signal?.aborted || list.some((entry) => entry.listener === listener)) return;
    this.#listeners.set(type, [...list, { listener, once }]);
    signal?.addEventListener("abort", () => this.removeEventListener(type, listener), { once: true });
  }
  removeEventListener(type, listener) {
    this.#listeners.set(type, (this.#listeners.get(type) ?? []).filter((entry) => entry.listener !== listener));
  }
  dispatchEvent(event) {
    if (!(event instanceof Event)) throw wrongType("event", "an instance of Event", event);
    aim(event, this);
    for (const { listener, once } of this.#listeners.get(event.type) ?? []) {
      if (once) this.removeEventListener(event.type, listener);
      try {
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      } catch (error) {
        throwLater(error);
      }
      if (event.stopped) break;
    }
    return !event.defaultPrevented;
  }
}

const SECRET = Symbol("made by its controller");

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason;
  onabort = null;
  constructor(secret) {
    super();
    if (secret !== SECRET) throw coded(TypeError, "ERR_ILLEGAL_CONSTRUCTOR", "Illegal constructor");
    Object.defineProperty(this, "onabort", { enumerable: false });
  }
  get aborted() {
    return this.#aborted;
  }
  get reason() {
    return this.#reason;
  }
  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }
  static [SECRET](signal, reason = new DOMException("This operation was aborted", "AbortError")) {
    if (signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason = reason;
    const event = new Event("abort");
    signal.onabort?.(event);
    signal.dispatchEvent(event);
  }
  static abort(reason) {
    const signal = new AbortSignal(SECRET);
    abort(signal, reason);
    return signal;
  }
  static timeout(delay) {
    const signal = new AbortSignal(SECRET);
    timers.setTimeout(() => abort(signal, new DOMException("The operation was aborted due to timeout", "TimeoutError")), delay).unref();
    return signal;
  }
  static any(signals) {
    const signal = new AbortSignal(SECRET);
    for (const other of signals) {
      if (other.aborted) abort(signal, other.reason);
      else other.addEventListener("abort", () => abort(signal, other.reason), { once: true });
    }
    return signal;
  }
}
const abort = AbortSignal[SECRET];

class AbortController {
  #signal = new AbortSignal(SECRET);
  get signal() {
    return this.#signal;
  }
  abort(reason) {
    abort(this.#signal, reason);
  }
}

define(globalThis, { AbortController, AbortSignal, CustomEvent, Event, EventTarget });
export { AbortController, AbortSignal };
