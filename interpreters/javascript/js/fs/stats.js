// Metadata of files. The sandbox keeps no permissions: those that a script sets are remembered here
// for as long as its interpreter lives, and are not enforced.
import { constants, nameAs } from "./options.js";

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = constants;
const KINDS = { file: S_IFREG, directory: S_IFDIR, symlink: S_IFLNK };
const PERMISSIONS = { file: 0o644, directory: 0o755, symlink: 0o777 };
const BLOCK_BYTES = 4096;
const TIMES = ["atime", "mtime", "ctime", "birthtime"];

const modes = new Map();
export const remember = (path, mode) => void modes.set(path.replace(/\/$/, ""), mode);
export const forget = (path) => void modes.delete(path);
export function follow(from, to) {
  const mode = modes.get(from);
  modes.delete(from);
  if (mode === undefined) modes.delete(to);
  else modes.set(to, mode);
}
export const permissions = (path, kind) => modes.get(path.replace(/\/$/, "")) ?? PERMISSIONS[kind];

class StatsBase {
  isFile() {
    return (Number(this.mode) & S_IFMT) === S_IFREG;
  }
  isDirectory() {
    return (Number(this.mode) & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink() {
    return (Number(this.mode) & S_IFMT) === S_IFLNK;
  }
  isBlockDevice() {
    return false;
  }
  isCharacterDevice() {
    return false;
  }
  isFIFO() {
    return false;
  }
  isSocket() {
    return false;
  }
}
export class Stats extends StatsBase {}
class BigIntStats extends StatsBase {}

// `found` is the native half's answer: length, time of change, kind, time of access, number.
export function stats([size, mtimeMs, kind, atimeMs, ino], path, bigint = false) {
  const numbers = { dev: 1, mode: KINDS[kind] | permissions(path, kind), nlink: 1, uid: 0, gid: 0, rdev: 0, blksize: BLOCK_BYTES, ino, size, blocks: Math.ceil(size / 512) };
  const at = { atimeMs, mtimeMs, ctimeMs: mtimeMs, birthtimeMs: mtimeMs };
  const about = bigint ? new BigIntStats() : new Stats();
  for (const [name, number] of Object.entries({ ...numbers, ...at })) about[name] = bigint ? BigInt(Math.trunc(number)) : number;
  if (bigint) for (const name of TIMES) about[`${name}Ns`] = about[`${name}Ms`] * 1000000n;
  for (const name of TIMES) about[name] = new Date(at[`${name}Ms`]);
  return about;
}

const KIND = Symbol("type");
export class Dirent {
  constructor(name, parentPath, kind, options = {}) {
    this.name = nameAs(name, options);
    this.parentPath = parentPath;
    this.path = parentPath;
    this[KIND] = { file: 1, directory: 2, symlink: 3 }[kind] ?? 0;
  }
  isFile() {
    return this[KIND] === 1;
  }
  isDirectory() {
    return this[KIND] === 2;
  }
  isSymbolicLink() {
    return this[KIND] === 3;
  }
}
for (const name of ["isBlockDevice", "isCharacterDevice", "isFIFO", "isSocket"]) Dirent.prototype[name] = StatsBase.prototype[name];
