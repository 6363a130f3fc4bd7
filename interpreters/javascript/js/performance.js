// The performance object: a clock, marks and measures.
import { define, host } from "./host.js";
import { coded } from "./faults.js";

let entries = [];

const entry = (name, entryType, startTime, duration, detail = null) => ({ name, entryType, startTime, duration, detail });

function at(place) {
  if (place === undefined) return undefined;
  if (typeof place === "number") return place;
  const mark = entries.findLast((one) => one.entryType === "mark" && one.name === place);
  if (!mark) throw coded(SyntaxError, "ERR_INVALID_PERFORMANCE_MARK", `The "${place}" performance mark has not been set`);
  return mark.startTime;
}

export const performance = {
  timeOrigin: 0,
  now: () => host.now(),
  mark(name, { detail, startTime = host.now() } = {}) {
    entries.push(entry(`${name}`, "mark", startTime, 0, detail));
    return entries.at(-1);
  },
  measure(name, from, to) {
    const options = typeof from === "object" && from !== null ? from : { start: from, end: to };
    const end = at(options.end) ?? (options.duration === undefined ? host.now() : at(options.start) + options.duration);
    const start = at(options.start) ?? (options.duration === undefined ? 0 : end - options.duration);
    entries.push(entry(`${name}`, "measure", start, end - start, options.detail));
    return entries.at(-1);
  },
  getEntries: () => [...entries],
  getEntriesByName: (name, type) => entries.filter((one) => one.name === name && (type === undefined || one.entryType === type)),
  getEntriesByType: (type) => entries.filter((one) => one.entryType === type),
  clearMarks: (name) => void (entries = entries.filter((one) => one.entryType !== "mark" || (name !== undefined && one.name !== name))),
  clearMeasures: (name) => void (entries = entries.filter((one) => one.entryType !== "measure" || (name !== undefined && one.name !== name))),
  timerify: (work) => work,
  eventLoopUtilization: () => ({ idle: 0, active: 0, utilization: 0 }),
  toJSON: () => ({ timeOrigin: performance.timeOrigin }),
};
export const setTimeOrigin = () => (performance.timeOrigin = Date.now());

define(globalThis, { performance });
