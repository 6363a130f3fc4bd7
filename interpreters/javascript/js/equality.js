// Deep equality, strict or loose, as in node:assert and node:util.

const isView = (value) => ArrayBuffer.isView(value) && !(value instanceof DataView);
const BOXES = [Number, String, Boolean, BigInt, Symbol];

function sameSet(a, b, strict, seen) {
  const left = [...b];
  return a.size === b.size && [...a].every((value) => {
    const at = left.findIndex((other) => same(value, other, strict, seen));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

function sameMap(a, b, strict, seen) {
  return a.size === b.size && [...a].every(([key, value]) => (b.has(key) && same(value, b.get(key), strict, seen)) || [...b].some(([other, there]) => same(key, other, strict, seen) && same(value, there, strict, seen)));
}

const keysOf = (value, strict) => (strict ? Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key)) : Object.keys(value));

export function same(a, b, strict, seen = new Map()) {
  if (strict ? Object.is(a, b) : a == b || (a !== a && b !== b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (Object.prototype.toString.call(a) !== Object.prototype.toString.call(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  if (a instanceof Date && a.getTime() !== b.getTime()) return false;
  if (a instanceof RegExp && (String(a) !== String(b) || a.lastIndex !== b.lastIndex)) return false;
  if (a instanceof Error && (a.message !== b.message || a.name !== b.name)) return false;
  if (BOXES.some((Box) => a instanceof Box) && !Object.is(a.valueOf(), b.valueOf())) return false;
  if (a instanceof WeakMap || a instanceof WeakSet || a instanceof Promise) return false;
  if (isView(a)) return a.length === b.length && a.every((value, i) => (strict ? Object.is(value, b[i]) : value == b[i]));
  if (a instanceof ArrayBuffer) return same(new Uint8Array(a), new Uint8Array(b), strict);
  // A pair that is already being compared counts as equal.
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (a instanceof Map && !sameMap(a, b, strict, seen)) return false;
  if (a instanceof Set && !sameSet(a, b, strict, seen)) return false;
  const keys = keysOf(a, strict);
  return (!Array.isArray(a) || a.length === b.length) && keys.length === keysOf(b, strict).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key], strict, seen));
}
