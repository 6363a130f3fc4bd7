// The state that a session keeps between its calls, as a console does: a call may declare a name
// again, and only a value that the call itself assigns to `result` is its result.
import { define } from "./host.js";
import { namesIn, nodesBelow, rewrite } from "./source.js";

// The names declared by let, const or class, with their kind.
const lexical = new Map();
let pending = null;

const DECLARES = /\b(?:let|const|var|class|function|import|export)\b/;

// The text of a call, and the preparations before it runs.
export function sessionText(code, file) {
  pending = null;
  const constants = [...lexical].filter(([, kind]) => kind === "const").map(([name]) => name);
  if (!DECLARES.test(code) && !constants.some((name) => code.includes(name))) return null;
  const script = rewrite(code, file, true);
  if (script) pending = { declared: script.declared, assigned: assignedIn(script.program) };
  return script;
}

function assignedIn(program) {
  const names = new Set();
  for (const node of nodesBelow(program)) {
    const target = node.type === "AssignmentExpression" ? node.left : node.type === "UpdateExpression" ? node.argument : node.type === "ForInStatement" || node.type === "ForOfStatement" ? node.left : null;
    if (target && target.type !== "VariableDeclaration") for (const name of namesIn(target)) names.add(name);
  }
  return names;
}

const put = (name, descriptor) => Reflect.defineProperty(globalThis, name, { enumerable: true, configurable: true, ...descriptor });

// Reads like a constant, and throws when it is assigned to.
function lock(name, value) {
  put(name, {
    get: () => value,
    set() {
      throw new TypeError("Assignment to constant variable.");
    },
  });
}

function beginLexical(name, kind, assigned) {
  const begun = put(name, {
    get() {
      throw new ReferenceError(`Cannot access '${name}' before initialization`);
    },
    set(value) {
      if (kind === "const" && assigned.has(name)) lock(name, value);
      else put(name, { value, writable: kind !== "const" });
    },
  });
  if (begun) lexical.set(name, kind);
  else globalThis[name] = undefined;
}

// Runs after the call compiles and before its first statement.
export function beginCall() {
  if (!pending) return;
  const { declared, assigned } = pending;
  pending = null;
  const here = new Set(declared.filter(([, kind]) => kind !== "nested").map(([name]) => name));
  for (const name of assigned) {
    if (lexical.get(name) === "const" && !here.has(name)) {
      const value = Object.getOwnPropertyDescriptor(globalThis, name)?.value;
      if (value !== undefined) lock(name, value);
    }
  }
  for (const [name, kind] of declared) {
    if (kind === "let" || kind === "const" || kind === "class") beginLexical(name, kind, assigned);
    else if (kind !== "nested" && lexical.delete(name)) delete globalThis[name];
    if (kind === "var" && !Object.hasOwn(globalThis, name)) put(name, { value: undefined, writable: true });
  }
}

// Until the next assignment, `result` does not count.
export function endCall() {
  const kept = Object.getOwnPropertyDescriptor(globalThis, "result");
  if (!kept || !("value" in kept) || !kept.configurable) return;
  const { value, writable } = kept;
  put("result", {
    get: () => value,
    set(next) {
      if (!writable) throw new TypeError("Assignment to constant variable.");
      put("result", { value: next, writable: true });
    },
  });
}

// The value that this call assigned to `result`.
export const assignedResult = () => Object.getOwnPropertyDescriptor(globalThis, "result")?.value;

let exported;
let current;
define(globalThis, {
  set $exported(value) {
    exported = { value };
  },
  $at: (line, column) => (error) => {
    if (error instanceof Error && typeof error.stack === "string" && !error.stack.includes("\n    at ")) error.stack += `\n    at ${current}:${line}:${column}`;
    throw error;
  },
});
export function beginScript(file) {
  exported = undefined;
  current = file;
}
export const exportedValue = () => exported?.value;
