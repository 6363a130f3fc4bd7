// The name, in messages, of a value that JSON cannot represent.
import { inspect } from "node-inspect-extracted";

const ADVICE = {
  undefined: "null",
  bigint: "its String() or Number()",
  Map: "Object.fromEntries() of it, or an array",
  Set: "an array",
  RegExp: "its String()",
  Error: "its message",
  Promise: "its value, with await",
  ArrayBuffer: "an array or base64 text",
  DataView: "an array or base64 text",
};
const SHOWN_LIMIT = 200;
const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);

function typeOf(value) {
  if (typeof value !== "object") return typeof value;
  const name = value.constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object" ? name : tag(value);
}

function adviceFor(value, name) {
  if (Object.hasOwn(ADVICE, name)) return ADVICE[name];
  if (value instanceof Error) return ADVICE.Error;
  if (ArrayBuffer.isView(value)) return "Array.from() of it, or base64 text";
  return undefined;
}

export function wordFor(value) {
  const name = typeOf(value).slice(0, SHOWN_LIMIT);
  const advice = adviceFor(value, name);
  const what = name === "undefined" ? "undefined" : name === "function" || name === "symbol" ? `a ${name}` : `a value of type ${name}`;
  return `${what}, which JSON cannot represent${advice ? `; give ${advice} instead` : ""}`;
}

// An error in one line.
export function brief(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : inspect(error);
  return text.replaceAll("\n", " ").slice(0, SHOWN_LIMIT);
}
