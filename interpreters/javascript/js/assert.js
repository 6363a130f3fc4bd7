// node:assert, with Node's messages where these are short, without colours and line-by-line
// comparison.
import { inspect } from "node-inspect-extracted";
import { same } from "./equality.js";
import { wrongType } from "./faults.js";

export class AssertionError extends Error {
  constructor({ message, actual, expected, operator }) {
    super(message);
    this.name = "AssertionError";
    Object.assign(this, { code: "ERR_ASSERTION", actual, expected, operator });
  }
}
const check = (passed, given, fallback, details) => {
  if (passed) return;
  if (given instanceof Error) throw given;
  throw new AssertionError({ message: given ?? fallback(), ...details });
};
const compare = (operator, test, words) => (actual, expected, message) =>
  check(test(actual, expected), message, () => words(inspect(actual), inspect(expected)), { actual, expected, operator });
const expected = (what) => (actual, other) => `Expected ${what}:\n\n${actual} !== ${other}\n`;
const infix = (operator) => (actual, other) => `${actual} ${operator} ${other}`;
const matches = (error, expected) =>
  expected === undefined ||
  (expected instanceof RegExp ? expected.test(String(error))
  : typeof expected === "function" ? expected.prototype !== undefined && error instanceof expected || expected === Error || expected.call({}, error) === true
  : Object.keys(expected).every((key) => (expected[key] instanceof RegExp ? expected[key].test(error[key]) : same(error[key], expected[key], true))));

export const assert = (value, message) => check(value, message, () => "The expression evaluated to a falsy value", { actual: value, expected: true, operator: "==" });
const loose = (a, b) => a == b || (a !== a && b !== b);

function thrownBy(work) {
  if (typeof work !== "function") throw wrongType("fn", "of type function", work);
  try {
    work();
  } catch (error) {
    return { error };
  }
  return null;
}

async function rejectedBy(work) {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return { error };
  }
  return null;
}

function expectThrown(caught, wanted, message, what) {
  if (typeof wanted === "string") [wanted, message] = [undefined, wanted];
  if (!caught) check(false, message && `Missing expected ${what}: ${message}`, () => `Missing expected ${what}${typeof wanted === "function" && wanted.name ? ` (${wanted.name})` : ""}.`, { operator: "throws" });
  if (matches(caught.error, wanted)) return;
  if (wanted instanceof RegExp) check(false, message, () => `The input did not match the regular expression ${inspect(wanted)}. Input:\n\n${inspect(String(caught.error))}\n`, { actual: caught.error, expected: wanted, operator: "throws" });
  if (typeof wanted === "object") check(false, message, () => `${inspect(caught.error)} is not the error that was expected: ${inspect(wanted)}`, { actual: caught.error, expected: wanted, operator: "throws" });
  throw caught.error;
}

function expectNothing(caught, what) {
  if (caught) check(false, undefined, () => `Got unwanted ${what}.\nActual message: "${caught.error?.message}"`, { actual: caught.error, operator: "doesNotThrow" });
}

Object.assign(assert, {
  ok: (value, message) => assert(value, message),
  AssertionError,
  fail: (message = "Failed") => check(false, message, undefined, { operator: "fail" }),
  equal: compare("==", loose, infix("==")),
  notEqual: compare("!=", (a, b) => !loose(a, b), infix("!=")),
  strictEqual: compare("strictEqual", Object.is, expected("values to be strictly equal")),
  notStrictEqual: compare("notStrictEqual", (a, b) => !Object.is(a, b), (actual) => `Expected "actual" to be strictly unequal to: ${actual}`),
  deepEqual: compare("deepEqual", (a, b) => same(a, b, false), (actual, other) => `Expected values to be loosely deep-equal:\n\n${actual}\n\nshould loosely deep-equal\n\n${other}`),
  notDeepEqual: compare("notDeepEqual", (a, b) => !same(a, b, false), (actual) => `Expected "actual" not to be loosely deep-equal to:\n\n${actual}`),
  deepStrictEqual: compare("deepStrictEqual", (a, b) => same(a, b, true), expected("values to be strictly deep-equal")),
  notDeepStrictEqual: compare("notDeepStrictEqual", (a, b) => !same(a, b, true), (actual) => `Expected "actual" not to be strictly deep-equal to:\n\n${actual}`),
  match: compare("match", (text, pattern) => pattern.test(text), (actual, pattern) => `The input did not match the regular expression ${pattern}. Input:\n\n${actual}\n`),
  doesNotMatch: compare("doesNotMatch", (text, pattern) => !pattern.test(text), (actual, pattern) => `The input was expected to not match the regular expression ${pattern}. Input:\n\n${actual}\n`),
  throws: (work, wanted, message) => expectThrown(thrownBy(work), wanted, message, "exception"),
  doesNotThrow: (work) => expectNothing(thrownBy(work), "exception"),
  rejects: async (work, wanted, message) => expectThrown(await rejectedBy(work), wanted, message, "rejection"),
  doesNotReject: async (work) => expectNothing(await rejectedBy(work), "rejection"),
  ifError(value) {
    if (value !== null && value !== undefined) throw new AssertionError({ message: `ifError got unwanted exception: ${value?.message ?? inspect(value)}`, actual: value, expected: null, operator: "ifError" });
  },
});
// `assert.strict` and `assert/strict`: the loose names mean the strict functions.
const { strictEqual, notStrictEqual, deepStrictEqual, notDeepStrictEqual } = assert;
export const strict = Object.assign((value, message) => assert(value, message), assert, { equal: strictEqual, notEqual: notStrictEqual, deepEqual: deepStrictEqual, notDeepEqual: notDeepStrictEqual });
strict.strict = assert.strict = strict;
