// How the functions of node:fs call the native half, the meaning of paths, and the text of errors.
import { host, place, WORK } from "../host.js";
import { Buffer, isBytes } from "../buffer.js";
import { wrongType, wrongValue } from "../faults.js";
import { URL } from "../url.js";

const ERRNO = {
  EPERM: [1, "operation not permitted"], ENOENT: [2, "no such file or directory"], EIO: [5, "i/o error"],
  EBADF: [9, "bad file descriptor"], EAGAIN: [11, "resource temporarily unavailable"], ENOMEM: [12, "not enough memory"],
  EACCES: [13, "permission denied"], EBUSY: [16, "resource busy or locked"], EEXIST: [17, "file already exists"],
  EXDEV: [18, "cross-device link not permitted"], ENOTDIR: [20, "not a directory"], EISDIR: [21, "illegal operation on a directory"],
  EINVAL: [22, "invalid argument"], EMFILE: [24, "too many open files"], EFBIG: [27, "file too large"],
  ENOSPC: [28, "no space left on device"], ESPIPE: [29, "invalid seek"], EROFS: [30, "read-only file system"],
  EMLINK: [31, "too many links"], ENAMETOOLONG: [36, "name too long"], ENOSYS: [38, "function not implemented"],
  ENOTEMPTY: [39, "directory not empty"], ELOOP: [40, "too many symbolic links encountered"],
  EILSEQ: [84, "illegal byte sequence"], ENOTSUP: [95, "operation not supported on socket"], EDQUOT: [122, "disk quota exceeded"],
};

// A system error as Node shows it; `path` and `dest` are as the caller wrote them.
export function systemError(code, syscall, path, dest) {
  const [number, description] = ERRNO[code] ?? [5, "i/o error"];
  const shown = (path === undefined ? "" : ` '${path}'`) + (dest === undefined ? "" : ` -> '${dest}'`);
  const error = new Error(`${code}: ${description}, ${syscall}${shown}`);
  Object.assign(error, { errno: -number, code, syscall });
  if (path !== undefined) error.path = path;
  if (dest !== undefined) error.dest = dest;
  return error;
}

// A path as the caller wrote it.
export function pathText(path, name = "path") {
  let text = path;
  if (path instanceof URL) {
    if (path.protocol !== "file:") throw Object.assign(new TypeError("The URL must be of scheme file"), { code: "ERR_INVALID_URL_SCHEME" });
    text = decodeURIComponent(path.pathname);
  } else if (isBytes(path)) text = Buffer.from(path).toString();
  if (typeof text !== "string") throw wrongType(name, "of type string or an instance of Buffer or URL", path);
  if (text.includes("\0")) throw wrongValue(name, path, "must be a string, Uint8Array, or URL without null bytes");
  return text;
}

// The absolute path, without `.` and `..`; a final slash is kept, because it requires a directory.
export function absolute(text) {
  if (text === "") return "";
  const whole = text.startsWith("/") ? text : `${place.cwd}/${text}`;
  const parts = [];
  for (const part of whole.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const slash = parts.length && /\/\.{0,2}$/.test(whole) ? "/" : "";
  return `/${parts.join("/")}${slash}`;
}

// `host.file` answers [code, value]; a code is the name of the errno, and empty for success.
export function attempt(operation, ...args) {
  return host.file(operation, ...args);
}

// An operation on one path. An empty path names nothing.
export function onPath(operation, syscall, path, ...args) {
  const shown = pathText(path);
  const [code, value] = shown === "" ? ["ENOENT"] : attempt(operation, absolute(shown), ...args);
  if (code !== "") throw systemError(code, syscall, shown);
  return value;
}

export function onPaths(operation, syscall, from, to, ...args) {
  const [shown, dest] = [pathText(from, "oldPath"), pathText(to, "newPath")];
  const [code, value] = shown === "" || dest === "" ? ["ENOENT"] : attempt(operation, absolute(shown), absolute(dest), ...args);
  if (code !== "") throw systemError(code, syscall, shown, dest);
  return value;
}

// The new working directory after chdir.
export function statFor(syscall, directory) {
  const shown = pathText(directory, "directory");
  const [code, found] = shown === "" ? ["ENOENT"] : attempt("stat", absolute(shown));
  const problem = code !== "" ? code : found[2] === "directory" ? "" : "ENOTDIR";
  if (problem !== "") throw systemError(problem, syscall, place.cwd, shown);
  return absolute(shown).replace(/(.)\/$/, "$1");
}

// Returns to the working directory before the run starts.
export const returnToWork = () => void (place.cwd = WORK);
