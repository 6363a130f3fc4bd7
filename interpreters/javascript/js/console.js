// console, printing as Node does: formatted text to stdout or stderr at once, without buffering.
import { format, formatWithOptions, inspect } from "node-inspect-extracted";
import { define, host } from "./host.js";
import { print } from "./stdio.js";

let indent = "";
const counts = new Map();
const clocks = new Map();

function emit(fd, args) {
  let text = args.length === 1 && typeof args[0] === "string" ? args[0] : format(...args);
  if (indent) text = indent + text.replaceAll("\n", `\n${indent}`);
  print(fd, `${text}\n`);
}

const duration = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${Number(ms.toFixed(3))}ms`);

function lapse(label, rest) {
  if (!clocks.has(label)) return emit(2, [`Warning: No such label '${label}' for console.timeEnd()`]);
  emit(1, [`${label}: ${duration(host.now() - clocks.get(label))}`, ...rest]);
}

const cell = (value) => inspect(value, { depth: typeof value === "object" && value !== null && !Array.isArray(value) ? -1 : 0, maxArrayLength: 3, breakLength: Infinity });

function grid(head, rows) {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)) + 2);
  const pad = (text, i) => ` ${text}${" ".repeat(widths[i] - text.length - 1)}`;
  const rule = (left, middle, right) => left + widths.map((w) => "─".repeat(w)).join(middle) + right;
  const line = (row) => `│${row.map(pad).join("│")}│`;
  return [rule("┌", "┬", "┐"), line(head), rule("├", "┼", "┤"), ...rows.map(line), rule("└", "┴", "┘")].join("\n");
}

function table(data, only) {
  if (data === null || typeof data !== "object") return emit(1, [data]);
  const entries = data instanceof Map ? [...data] : data instanceof Set ? [...data].map((v, i) => [i, v]) : Object.entries(data);
  const keys = new Set();
  let plain = false;
  for (const [, value] of entries) {
    if (value !== null && typeof value === "object") Object.keys(value).forEach((key) => keys.add(key));
    else plain = true;
  }
  const columns = only ?? [...keys];
  const head = ["(index)", ...columns, ...(plain ? ["Values"] : [])];
  const rows = entries.map(([index, value]) => {
    const object = value !== null && typeof value === "object";
    const cells = columns.map((key) => (object && key in value ? cell(value[key]) : ""));
    return [String(index), ...cells, ...(plain ? [object ? "" : cell(value)] : [])];
  });
  emit(1, [grid(head, rows)]);
}

export const console = {
  log: (...args) => emit(1, args),
  info: (...args) => emit(1, args),
  debug: (...args) => emit(1, args),
  error: (...args) => emit(2, args),
  warn: (...args) => emit(2, args),
  trace: (...args) => emit(2, [`Trace: ${format(...args)}`]),
  dir: (value, options) => emit(1, [inspect(value, { customInspect: false, ...options })]),
  dirxml: (...args) => emit(1, args),
  table,
  assert(condition, ...args) {
    if (condition) return;
    if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else args.unshift("Assertion failed");
    emit(2, args);
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    emit(1, [`${label}: ${counts.get(label)}`]);
  },
  countReset: (label = "default") => void counts.delete(label),
  group(...args) {
    if (args.length) emit(1, args);
    indent += "  ";
  },
  groupEnd: () => void (indent = indent.slice(2)),
  time: (label = "default") => void clocks.set(label, host.now()),
  timeLog: (label = "default", ...rest) => lapse(label, rest),
  timeEnd(label = "default") {
    lapse(label, []);
    clocks.delete(label);
  },
};
console.groupCollapsed = console.group;

define(globalThis, { console });
export { format, formatWithOptions, inspect };
