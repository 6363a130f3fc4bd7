// process.nextTick, and errors thrown outside the script's own statements. The Rust half calls
// `runTicks` before promise jobs, as Node does after each of its own calls into a script.
import { mustBeFunction } from "./faults.js";

let queue = [];
let thrown = [];

export function nextTick(callback, ...args) {
  mustBeFunction(callback);
  queue.push({ callback, args });
}

// Hands an error to the event loop as uncaught.
export const throwLater = (error) => void thrown.push(error);

// Runs the waiting ticks and returns whether there were any. An error leaves the rest for the next
// call.
export function runTicks() {
  if (thrown.length) throw thrown.shift();
  if (queue.length === 0) return false;
  while (queue.length) {
    const due = queue;
    queue = [];
    let at = 0;
    try {
      while (at < due.length) {
        const { callback, args } = due[at++];
        callback(...args);
      }
    } finally {
      if (at < due.length) queue = [...due.slice(at), ...queue];
    }
  }
  return true;
}

export function forgetTicks() {
  queue = [];
  thrown = [];
}

const resolved = Promise.resolve();
const then = Promise.prototype.then;
export function queueMicrotask(callback) {
  mustBeFunction(callback);
  const job = () => {
    try {
      callback();
    } catch (error) {
      throwLater(error);
    }
  };
  Reflect.apply(then, resolved, [job]);
}
