// The synchronous core of node:fs over the run's own directories, and the promise forms of it.
import { host } from "./host.js";
import { Buffer, encode, toBytes } from "./encoding.js";
import { stdinText } from "./process.js";

const DESCRIPTION = { ENOENT: "no such file or directory", EEXIST: "file already exists", ENOTDIR: "not a directory", EISDIR: "illegal operation on a directory", EACCES: "permission denied", EPERM: "operation not permitted", ENOTEMPTY: "directory not empty", ENOSPC: "no space left on device", EINVAL: "invalid argument", EIO: "i/o error" };

export const resolve = (path) => {
  if (path instanceof URL) path = decodeURIComponent(path.pathname);
  if (ArrayBuffer.isView(path)) path = Buffer.from(path).toString();
  if (typeof path !== "string") throw new TypeError('The "path" argument must be of type string or an instance of Buffer or URL');
  return path.startsWith("/") ? path : `/work/${path}`;
};

// `host.file` answers [code, value]; a code is the name of the errno.
function call(operation, shown, ...args) {
  const [code, value] = host.file(operation, ...args);
  if (code === "") return value;
  const error = new Error(`${code}: ${DESCRIPTION[code] ?? "failed"}, ${operation} '${shown}'`);
  throw Object.assign(error, { code, syscall: operation, path: String(shown) });
}

const encodingOf = (options) => (typeof options === "string" ? options : options?.encoding);
const payload = (data, options) => (typeof data === "string" ? encode(data, encodingOf(options) ?? "utf8") : toBytes(data));

class Stats {
  constructor([size, mtimeMs, kind]) {
    Object.assign(this, { size, mtimeMs, mtime: new Date(mtimeMs) });
    Object.defineProperty(this, "kind", { value: kind });
  }
  isFile() {
    return this.kind === "file";
  }
  isDirectory() {
    return this.kind === "directory";
  }
  isSymbolicLink() {
    return this.kind === "symlink";
  }
}

export const fs = {
  readFileSync(path, options) {
    const encoding = encodingOf(options);
    if (path === 0 || path === "/dev/stdin") return encoding ? stdinText() : Buffer.from(stdinText());
    const bytes = Buffer.from(call("open", path, resolve(path)).buffer);
    return encoding ? bytes.toString(encoding) : bytes;
  },
  writeFileSync(path, data, options) {
    if (path === 1 || path === 2) return host.writeBytes(path, payload(data, options));
    call(options?.flag === "a" ? "append" : "write", path, resolve(path), payload(data, options));
  },
  appendFileSync: (path, data, options) => void call("append", path, resolve(path), payload(data, options)),
  existsSync(path) {
    return host.file("stat", resolve(path))[0] === "";
  },
  statSync(path, options) {
    if (options?.throwIfNoEntry === false && !fs.existsSync(path)) return undefined;
    return new Stats(call("stat", path, resolve(path)));
  },
  lstatSync: (path) => new Stats(call("lstat", path, resolve(path))),
  readdirSync(path, options) {
    const entries = call("scandir", path, resolve(path)).sort((a, b) => (a[0] < b[0] ? -1 : 1));
    if (!options?.withFileTypes) return entries.map(([name]) => name);
    return entries.map(([name, kind]) => Object.assign(Object.create(Stats.prototype, { kind: { value: kind } }), { name, parentPath: String(path) }));
  },
  mkdirSync: (path, options) => void call(options?.recursive ? "mkdirp" : "mkdir", path, resolve(path)),
  rmdirSync: (path) => void call("rmdir", path, resolve(path)),
  unlinkSync: (path) => void call("unlink", path, resolve(path)),
  rmSync(path, options) {
    if (options?.force && !fs.existsSync(path)) return;
    call(options?.recursive ? "rmtree" : "unlink", path, resolve(path));
  },
  renameSync: (from, to) => void call("rename", from, resolve(from), resolve(to)),
  copyFileSync: (from, to) => void call("copyfile", from, resolve(from), resolve(to)),
  accessSync: (path) => void call("stat", path, resolve(path)),
  constants: { F_OK: 0, R_OK: 4, W_OK: 2 },
};

const promised = (name) => async (...args) => fs[`${name}Sync`](...args);
export const fsPromises = Object.fromEntries(["readFile", "writeFile", "appendFile", "stat", "lstat", "readdir", "mkdir", "rmdir", "unlink", "rm", "rename", "copyFile", "access"].map((name) => [name, promised(name)]));
fs.promises = fsPromises;
for (const name of Object.keys(fsPromises)) {
  fs[name] = (...args) => {
    const callback = args.pop();
    fsPromises[name](...args).then((value) => callback(null, value), callback);
  };
}
