// node:util.
import { format, formatWithOptions, inspect, stripVTControlCharacters } from "node-inspect-extracted";
import { coded, mustBeFunction, wrongType } from "./faults.js";
import { same } from "./equality.js";
import { nextTick } from "./ticks.js";

const CUSTOM_PROMISE = Symbol.for("nodejs.util.promisify.custom");

export function promisify(original) {
  mustBeFunction(original, "original");
  if (original[CUSTOM_PROMISE]) return mustBeFunction(original[CUSTOM_PROMISE], "util.promisify.custom");
  const promised = function (...args) {
    return new Promise((resolve, reject) => {
      Reflect.apply(original, this, [...args, (error, value) => (error ? reject(error) : resolve(value))]);
    });
  };
  Object.setPrototypeOf(promised, Object.getPrototypeOf(original));
  return Object.defineProperties(promised, { name: { value: original.name, configurable: true }, [CUSTOM_PROMISE]: { value: promised, configurable: true } });
}
promisify.custom = CUSTOM_PROMISE;

function callbackify(original) {
  mustBeFunction(original, "original");
  return function (...args) {
    const callback = mustBeFunction(args.pop(), "last argument");
    Reflect.apply(original, this, args).then(
      (value) => nextTick(callback, null, value),
      (reason) => nextTick(callback, reason || coded(Error, "ERR_FALSY_VALUE_REJECTION", "Promise was rejected with falsy value", { reason })),
    );
  };
}

function inherits(child, parent) {
  mustBeFunction(child, "ctor");
  mustBeFunction(parent, "superCtor");
  Object.defineProperty(child, "super_", { value: parent, writable: true, configurable: true });
  Object.setPrototypeOf(child.prototype, parent.prototype);
}

const warned = new Set();
function deprecate(fn, message, code) {
  let told = false;
  return function (...args) {
    if (!told && !warned.has(code ?? message)) globalThis.process.emitWarning(message, "DeprecationWarning", code);
    told = true;
    warned.add(code ?? message);
    return new.target ? Reflect.construct(fn, args, new.target) : Reflect.apply(fn, this, args);
  };
}

const tag = (name) => (value) => Object.prototype.toString.call(value) === `[object ${name}]`;
const boxed = (Box) => (value) => typeof value === "object" && value instanceof Box;
const types = {
  isDate: tag("Date"), isRegExp: tag("RegExp"), isMap: tag("Map"), isSet: tag("Set"), isWeakMap: tag("WeakMap"), isWeakSet: tag("WeakSet"), isPromise: tag("Promise"),
  isArrayBuffer: tag("ArrayBuffer"), isSharedArrayBuffer: tag("SharedArrayBuffer"), isAnyArrayBuffer: (value) => tag("ArrayBuffer")(value) || tag("SharedArrayBuffer")(value), isDataView: tag("DataView"),
  isArrayBufferView: ArrayBuffer.isView,
  isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView),
  isAsyncFunction: tag("AsyncFunction"), isGeneratorFunction: (value) => tag("GeneratorFunction")(value) || tag("AsyncGeneratorFunction")(value), isGeneratorObject: tag("Generator"),
  isNativeError: (value) => value instanceof Error, isArgumentsObject: tag("Arguments"), isModuleNamespaceObject: tag("Module"), isMapIterator: tag("Map Iterator"), isSetIterator: tag("Set Iterator"),
  isNumberObject: boxed(Number), isStringObject: boxed(String), isBooleanObject: boxed(Boolean), isBigIntObject: boxed(BigInt), isSymbolObject: boxed(Symbol),
  isBoxedPrimitive: (value) => [Number, String, Boolean, BigInt, Symbol].some((Box) => boxed(Box)(value)),
  isProxy: () => false, isExternal: () => false,
};
for (const name of ["Uint8Array", "Uint8ClampedArray", "Uint16Array", "Uint32Array", "Int8Array", "Int16Array", "Int32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"]) {
  types[`is${name}`] = (value) => ArrayBuffer.isView(value) && value[Symbol.toStringTag] === name;
}

function debuglog() {
  return Object.assign(() => {}, { enabled: false });
}

// Colours need a terminal, which is absent, unless the caller turns that check off.
function styleText(style, text, { validateStream = true } = {}) {
  if (typeof text !== "string") throw wrongType("text", "of type string", text);
  let whole = text;
  for (const name of [style].flat()) {
    const codes = inspect.colors[name];
    if (!codes) throw coded(TypeError, "ERR_INVALID_ARG_VALUE", `The argument 'format' must be one of: ${Object.keys(inspect.colors).map((color) => `'${color}'`).join(", ")}. Received ${inspect(name)}`);
    whole = `\x1b[${codes[0]}m${whole}\x1b[${codes[1]}m`;
  }
  return validateStream ? text : whole;
}

// Parses the arguments of a command line, as node:util does.
function parseArgs({ args = globalThis.process.argv.slice(2), options = {}, strict = true, allowPositionals = !strict, allowNegative = false } = {}) {
  const values = Object.create(null);
  const positionals = [];
  const shorts = Object.fromEntries(Object.entries(options).filter(([, option]) => option.short).map(([name, option]) => [option.short, name]));
  const put = (name, value) => {
    if (options[name]?.multiple) (values[name] ??= []).push(value);
    else values[name] = value;
  };
  const wrong = (code, message) => coded(TypeError, `ERR_PARSE_ARGS_${code}`, message);
  const rest = [...args];
  const take = (name, shown, value) => {
    const negated = allowNegative && !options[name] && name.startsWith("no-") && options[name.slice(3)]?.type === "boolean";
    if (negated) return put(name.slice(3), false);
    const option = options[name];
    if (!option && strict) throw wrong("UNKNOWN_OPTION", `Unknown option '${shown}'${allowPositionals ? `. To specify a positional argument starting with a '-', place it at the end of the command after '--', as in '-- "${shown}"` : ""}`);
    if (option?.type === "string") {
      value ??= rest.length && (!strict || !rest[0].startsWith("-")) ? rest.shift() : undefined;
      if (value === undefined && strict) throw wrong("INVALID_OPTION_VALUE", `Option '${option.short ? `-${option.short}, ` : ""}--${name} <value>' argument missing`);
      return put(name, value ?? true);
    }
    if (value !== undefined && strict) throw wrong("INVALID_OPTION_VALUE", `Option '${option.short ? `-${option.short}, ` : ""}--${name}' does not take an argument`);
    return put(name, value ?? true);
  };
  while (rest.length) {
    const arg = rest.shift();
    if (arg === "--") {
      positionals.push(...rest.splice(0));
      break;
    }
    const long = /^--([^=]+)(?:=(.*))?$/s.exec(arg);
    if (long) take(long[1], `--${long[1]}`, long[2]);
    else if (/^-./.test(arg)) {
      for (let letters = arg.slice(1); letters; ) {
        const name = shorts[letters[0]] ?? letters[0];
        const tail = letters.slice(1);
        const valued = options[name]?.type === "string" && tail;
        take(name, `-${letters[0]}`, valued ? tail : undefined);
        letters = valued ? "" : tail;
      }
    } else positionals.push(arg);
  }
  if (positionals.length && !allowPositionals) throw wrong("UNEXPECTED_POSITIONAL", `Unexpected argument '${positionals[0]}'. This command does not take positional arguments`);
  for (const [name, option] of Object.entries(options)) if (option.default !== undefined) values[name] ??= option.default;
  return { values, positionals };
}

export const util = {
  TextDecoder: globalThis.TextDecoder,
  TextEncoder: globalThis.TextEncoder,
  callbackify,
  debug: debuglog,
  debuglog,
  deprecate,
  format,
  formatWithOptions,
  inherits,
  inspect,
  isArray: Array.isArray,
  isDeepStrictEqual: (a, b) => same(a, b, true),
  parseArgs,
  promisify,
  stripVTControlCharacters,
  styleText,
  toUSVString: (text) => `${text}`.toWellFormed(),
  types,
};
