// What `import` and `require` find: the built-in modules by name, and the script's own files.
import { host } from "./host.js";
import { Buffer } from "./encoding.js";
import { fs, fsPromises, resolve } from "./fs.js";
import { process, webcrypto } from "./process.js";
import { timers, timerPromises } from "./timers.js";
import { assert, EventEmitter, path, readline, util } from "./library.js";

class Hash {
  #parts = [];
  constructor(algorithm) {
    this.algorithm = algorithm.toLowerCase().replace("-", "");
    if (!["sha256", "sha512", "sha1", "md5"].includes(this.algorithm)) throw new Error(`Digest method not supported: ${algorithm}`);
  }
  update(data, encoding) {
    this.#parts.push(typeof data === "string" ? Buffer.from(data, encoding) : data);
    return this;
  }
  digest(encoding) {
    const joined = Buffer.concat(this.#parts);
    const digest = Buffer.from(host.hash(this.algorithm, new Uint8Array(joined)).buffer);
    return encoding ? digest.toString(encoding) : digest;
  }
}

const crypto = {
  ...webcrypto,
  webcrypto,
  randomBytes: (size) => Buffer.from(host.random(size).buffer),
  randomInt: (low, high) => (high === undefined ? Math.floor(Math.random() * low) : low + Math.floor(Math.random() * (high - low))),
  createHash: (algorithm) => new Hash(algorithm),
};
const os = { EOL: "\n", platform: () => "wasi", type: () => "WASI", arch: () => "wasm32", cpus: () => [], tmpdir: () => "/work", homedir: () => "/work", hostname: () => "sandbox" };

const BUILTINS = {
  fs,
  "fs/promises": fsPromises,
  path,
  "path/posix": path,
  util,
  events: EventEmitter,
  assert,
  "assert/strict": assert,
  readline,
  "readline/promises": readline,
  crypto,
  os,
  process,
  timers: { ...timers, promises: timerPromises },
  "timers/promises": timerPromises,
  buffer: { Buffer },
  url: { URL, URLSearchParams, fileURLToPath: (url) => new URL(url).pathname, pathToFileURL: (text) => new URL(`file://${resolve(text)}`) },
  perf_hooks: { performance: globalThis.performance },
  console: globalThis.console,
};

const bare = (name) => (name.startsWith("node:") ? name.slice(5) : name);
export const builtin = (name) => (Object.hasOwn(BUILTINS, bare(name)) ? BUILTINS[bare(name)] : undefined);
export const builtinKeys = (name) => Object.keys(builtin(name)).filter((key) => /^[A-Za-z_$][\w$]*$/.test(key) && key !== "default");

export function missing(name) {
  const error = new Error(`Cannot find module '${name}': no packages are installed here. Available are the modules ${Object.keys(BUILTINS).join(", ")}, and files in the working directory by a relative path`);
  return Object.assign(error, { code: "MODULE_NOT_FOUND" });
}

const loaded = new Map();
function requireFrom(directory) {
  const require = (name) => {
    const known = builtin(name);
    if (known !== undefined) return known;
    if (!/^\.{0,2}\//.test(name)) throw missing(name);
    const base = path.resolve(directory, name);
    const file = [base, `${base}.js`, `${base}.cjs`, `${base}.json`, `${base}/index.js`].find((candidate) => fs.existsSync(candidate) && fs.statSync(candidate).isFile());
    if (file === undefined) throw Object.assign(new Error(`Cannot find module '${name}'`), { code: "MODULE_NOT_FOUND" });
    if (loaded.has(file)) return loaded.get(file).exports;
    const source = fs.readFileSync(file, "utf8");
    const module = { exports: {}, id: file, filename: file };
    loaded.set(file, module);
    if (file.endsWith(".json")) module.exports = JSON.parse(source);
    else {
      const body = host.evaluate(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, path.relative("/work", file));
      body.call(module.exports, module.exports, requireFrom(path.dirname(file)), module, file, path.dirname(file));
    }
    return module.exports;
  };
  return require;
}

export const mainModule = { exports: {}, id: ".", filename: "/work/main.js" };
export const require = requireFrom("/work");
require.main = mainModule;
