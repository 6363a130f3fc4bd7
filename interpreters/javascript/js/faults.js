// Errors in Node's form: a code and Node's message. The callers decide whether something is an
// error.
import { inspect } from "node-inspect-extracted";

// The properties in the order in which Node shows them; the header of the stack names the code.
export function coded(Base, code, message, more = {}) {
  const error = new Base(message);
  const stack = error.stack;
  Object.assign(error, more, { code });
  const header = `${error.name}: ${message}`;
  if (typeof stack === "string" && stack.startsWith(header)) {
    Object.defineProperty(error, "stack", { value: `${error.name} [${code}]: ${message}${stack.slice(header.length)}`, writable: true, configurable: true });
  }
  return error;
}

function received(value) {
  if (value === null || value === undefined) return `Received ${value}`;
  if (typeof value === "function") return `Received function ${value.name}`;
  if (typeof value === "object") {
    const name = value.constructor?.name;
    return name ? `Received an instance of ${name}` : `Received ${inspect(value, { depth: -1 })}`;
  }
  let shown = inspect(value, { colors: false });
  if (shown.length > 28) shown = `${shown.slice(0, 25)}...`;
  return `Received type ${typeof value} (${shown})`;
}

const named = (name) => (name.includes(" ") ? name : `"${name}" ${name.includes(".") ? "property" : "argument"}`);

export const wrongType = (name, expected, value) => coded(TypeError, "ERR_INVALID_ARG_TYPE", `The ${named(name)} must be ${expected}. ${received(value)}`);

export function wrongValue(name, value, reason = "is invalid") {
  let shown = inspect(value);
  if (shown.length > 128) shown = `${shown.slice(0, 128)}...`;
  return coded(TypeError, "ERR_INVALID_ARG_VALUE", `The ${name.includes(".") ? "property" : "argument"} '${name}' ${reason}. Received ${shown}`);
}

export function outOfRange(name, range, value) {
  const shown = typeof value === "number" && Number.isInteger(value) && Math.abs(value) > 2 ** 32 ? String(value).replace(/\B(?=(\d{3})+$)/g, "_") : inspect(value);
  return coded(RangeError, "ERR_OUT_OF_RANGE", `The value of "${name}" is out of range. It must be ${range}. Received ${shown}`);
}

// The error for a Node feature that a sandbox lacks, in one sentence.
export const unavailable = (what, why) => coded(Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", `${what} is not available here: ${why}`);

export function mustBeFunction(value, name = "callback") {
  if (typeof value !== "function") throw wrongType(name, "of type function", value);
  return value;
}

export function mustBeInteger(value, name, least = Number.MIN_SAFE_INTEGER, most = Number.MAX_SAFE_INTEGER) {
  if (typeof value !== "number") throw wrongType(name, "of type number", value);
  if (!Number.isInteger(value)) throw outOfRange(name, "an integer", value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
  return value;
}
