// The modules that `import` and `require` find: the built-in ones by name, and the script's own
// files.
import * as streams from "readable-stream";
import * as streamPromises from "readable-stream/lib/stream/promises.js";
import { StringDecoder } from "string_decoder/";
import { host, WORK } from "./host.js";
import { Buffer, constants as bufferConstants, kMaxLength } from "./buffer.js";
import { EventEmitter } from "./events.js";
import { absentModule, unknownModule } from "./absent.js";
import { assert, strict } from "./assert.js";
import { crypto } from "./crypto.js";
import { coded, wrongType } from "./faults.js";
import { fs, fsPromises } from "./fs.js";
import { os } from "./os.js";
import { path } from "./path.js";
import { performance } from "./performance.js";
import { process } from "./process.js";
import { readline, readlinePromises } from "./readline.js";
import { timers, timerPromises } from "./timers.js";
import { fileURLToPath, pathToFileURL, querystring, url } from "./url.js";
import { util } from "./util.js";

// The stream class itself is the module.
const stream = streams.default ?? streams;

export const BUILTINS = {
  assert,
  "assert/strict": strict,
  buffer: { Buffer, constants: bufferConstants, kMaxLength, atob: globalThis.atob, btoa: globalThis.btoa, isUtf8: (bytes) => host.utf8Decode(new Uint8Array(bytes), true) !== undefined, isAscii: (bytes) => new Uint8Array(bytes).every((byte) => byte < 128) },
  console: globalThis.console,
  crypto,
  events: EventEmitter,
  fs,
  "fs/promises": fsPromises,
  os,
  path,
  "path/posix": path,
  perf_hooks: { performance },
  process,
  querystring,
  readline,
  "readline/promises": readlinePromises,
  stream,
  "stream/promises": streamPromises.default ?? streamPromises,
  string_decoder: { StringDecoder },
  timers: { ...timers, promises: timerPromises },
  "timers/promises": timerPromises,
  url,
  util,
  "util/types": util.types,
};
Object.defineProperty(stream, "promises", { value: BUILTINS["stream/promises"], enumerable: true });

const bare = (name) => (name.startsWith("node:") ? name.slice(5) : name);
export const builtin = (name) => (Object.hasOwn(BUILTINS, bare(name)) ? BUILTINS[bare(name)] : undefined);
const isName = (key) => /^[A-Za-z_$][\w$]*$/.test(key) && key !== "default";
export const builtinKeys = (name) => Object.keys(builtin(name)).filter(isName);
const available = Object.keys(BUILTINS).concat("module");

export const missing = (name) => absentModule(name) ?? unknownModule(name, available);

function candidates(base) {
  const packaged = () => {
    try {
      return [path.resolve(base, JSON.parse(fs.readFileSync(`${base}/package.json`, "utf8")).main)];
    } catch {
      return [];
    }
  };
  return [base, `${base}.js`, `${base}.json`, `${base}.cjs`, ...packaged(), `${base}/index.js`, `${base}/index.json`];
}
const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
const withoutMark = (text) => (text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);

class Module {
  constructor(id, parent) {
    Object.assign(this, { id, path: path.dirname(id), exports: {}, filename: id, loaded: false, children: [], paths: [] });
    parent?.children.push(this);
  }
}

const cache = Object.create(null);

function evaluate(module, require) {
  const { filename } = module;
  const source = withoutMark(fs.readFileSync(filename, "utf8"));
  if (filename.endsWith(".json")) {
    try {
      module.exports = JSON.parse(source);
    } catch (error) {
      error.message = `${filename}: ${error.message}`;
      throw error;
    }
    return;
  }
  // The wrapper is on the first line of the file's text, so that all lines, and the columns of the
  // other lines, are right.
  const text = source.startsWith("#!") ? `//${source.slice(2)}` : source;
  let body;
  try {
    body = host.evaluate(`(function (exports, require, module, __filename, __dirname) {${text}\n})`, path.relative(WORK, filename));
  } catch (error) {
    if (!/^\s*(?:import|export)\b/m.test(source)) throw error;
    throw coded(Error, "ERR_REQUIRE_ESM", `require() of ES Module ${filename} is not supported; use import instead`);
  }
  body.call(module.exports, module.exports, require, module, filename, module.path);
}

function load(file, parent) {
  if (cache[file]) return cache[file].exports;
  const module = new Module(file, parent);
  cache[file] = module;
  try {
    evaluate(module, requireFrom(module));
  } catch (error) {
    delete cache[file];
    throw error;
  }
  module.loaded = true;
  return module.exports;
}

function requireFrom(parent) {
  const find = (name) => {
    if (typeof name !== "string") throw wrongType("id", "of type string", name);
    if (builtin(name) !== undefined || bare(name) === "module") return name;
    if (!/^(?:\.{0,2}\/|\.{1,2}$)/.test(name)) throw missing(name);
    const file = candidates(path.resolve(parent.path, name)).find(isFile);
    if (file === undefined) throw coded(Error, "MODULE_NOT_FOUND", `Cannot find module '${name}'\nRequire stack:\n- ${parent.filename}`, { requireStack: [parent.filename] });
    return file;
  };
  const require = (name) => {
    const found = find(name);
    if (bare(found) === "module") return moduleModule;
    return builtin(found) ?? load(found, parent);
  };
  return Object.assign(require, { resolve: find, main: mainModule, cache, extensions: {} });
}

export const mainModule = new Module(`${WORK}/main.js`);
mainModule.id = ".";
export const require = requireFrom(mainModule);
mainModule.require = require;

function createRequire(from) {
  const file = from instanceof globalThis.URL || `${from}`.startsWith("file:") ? fileURLToPath(from) : from;
  if (typeof file !== "string" || !file.startsWith("/")) throw coded(TypeError, "ERR_INVALID_ARG_VALUE", `The argument 'filename' must be a file URL object, file URL string, or absolute path string. Received ${util.inspect(from)}`);
  return requireFrom(new Module(file));
}
const moduleModule = Object.assign(Module, { createRequire, builtinModules: available, isBuiltin: (name) => available.includes(bare(name)), Module, _cache: cache });
BUILTINS.module = moduleModule;

// A CommonJS file that is imported with `import`: its exports by name.
export function commonJs(name, source) {
  if (!/\.(?:c?js)$/.test(name)) return undefined;
  if (!name.endsWith(".cjs") && (!/\b(?:module\.exports|exports\.\w|exports\[)/.test(source) || /^\s*(?:import|export)\b/m.test(source))) return undefined;
  const exports = load(path.resolve(WORK, name), mainModule);
  return (typeof exports === "object" || typeof exports === "function") && exports !== null ? Object.keys(exports).filter(isName) : [];
}
export const loadedFile = (name) => load(path.resolve(WORK, name), mainModule);

// import.meta of a file.
export function describe(meta, name) {
  const filename = path.resolve(WORK, name);
  const resolve = (specifier) => (builtin(specifier) !== undefined ? `node:${bare(specifier)}` : new globalThis.URL(specifier, meta.url).href);
  return Object.assign(meta, { dirname: path.dirname(filename), filename, resolve, url: pathToFileURL(filename).href });
}

export function notFound(name, base) {
  return coded(Error, "ERR_MODULE_NOT_FOUND", `Cannot find module '${path.resolve(WORK, name)}' imported from ${path.resolve(WORK, base)}`);
}
