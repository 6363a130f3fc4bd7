// The options of node:fs: each is checked and honoured, or refused.
import { Buffer, encodingFor, known } from "../buffer.js";
import { mustBeInteger, wrongType, wrongValue } from "../faults.js";

export const constants = {
  F_OK: 0, X_OK: 1, W_OK: 2, R_OK: 4, COPYFILE_EXCL: 1, COPYFILE_FICLONE: 2, COPYFILE_FICLONE_FORCE: 4,
  O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2, O_CREAT: 64, O_EXCL: 128, O_NOCTTY: 256, O_TRUNC: 512, O_APPEND: 1024,
  O_NONBLOCK: 2048, O_DSYNC: 4096, O_DIRECT: 16384, O_DIRECTORY: 65536, O_NOFOLLOW: 131072, O_NOATIME: 262144, O_SYNC: 1052672,
  S_IFMT: 61440, S_IFREG: 32768, S_IFDIR: 16384, S_IFCHR: 8192, S_IFBLK: 24576, S_IFIFO: 4096, S_IFLNK: 40960, S_IFSOCK: 49152,
  S_IRWXU: 448, S_IRUSR: 256, S_IWUSR: 128, S_IXUSR: 64, S_IRWXG: 56, S_IRGRP: 32, S_IWGRP: 16, S_IXGRP: 8, S_IRWXO: 7, S_IROTH: 4, S_IWOTH: 2, S_IXOTH: 1,
  UV_FS_SYMLINK_DIR: 1, UV_FS_SYMLINK_JUNCTION: 2, UV_DIRENT_UNKNOWN: 0, UV_DIRENT_FILE: 1, UV_DIRENT_DIR: 2, UV_DIRENT_LINK: 3,
  UV_FS_COPYFILE_EXCL: 1, UV_FS_COPYFILE_FICLONE: 2, UV_FS_COPYFILE_FICLONE_FORCE: 4, UV_FS_O_FILEMAP: 0,
};
const { O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC } = constants;

const FLAGS = { r: 0, rs: O_SYNC, "r+": O_RDWR, "rs+": O_RDWR | O_SYNC, w: O_TRUNC | O_CREAT | O_WRONLY, wx: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL, "w+": O_TRUNC | O_CREAT | O_RDWR, "wx+": O_TRUNC | O_CREAT | O_RDWR | O_EXCL, a: O_APPEND | O_CREAT | O_WRONLY, ax: O_APPEND | O_CREAT | O_WRONLY | O_EXCL, as: O_APPEND | O_CREAT | O_WRONLY | O_SYNC, "a+": O_APPEND | O_CREAT | O_RDWR, "ax+": O_APPEND | O_CREAT | O_RDWR | O_EXCL, "as+": O_APPEND | O_CREAT | O_RDWR | O_SYNC };
for (const [flag, turned] of [["rs", "sr"], ["rs+", "sr+"], ["wx", "xw"], ["wx+", "xw+"], ["ax", "xa"], ["ax+", "xa+"], ["as", "sa"], ["as+", "sa+"]]) FLAGS[turned] = FLAGS[flag];

export function flagBits(flag, fallback = "r") {
  if (flag === undefined || flag === null) return FLAGS[fallback];
  if (typeof flag === "number") return mustBeInteger(flag, "flags", 0, 2 ** 31 - 1);
  if (typeof flag !== "string" || !Object.hasOwn(FLAGS, flag)) throw wrongValue("flags", flag);
  return FLAGS[flag];
}

export function modeBits(mode, fallback, name = "mode") {
  if (mode === undefined || mode === null) return fallback;
  if (typeof mode === "string") {
    if (!/^[0-7]+$/.test(mode)) throw wrongValue(name, mode, "must be a 32-bit unsigned integer or an octal string");
    return parseInt(mode, 8) & 0o7777;
  }
  return mustBeInteger(mode, name, 0, 2 ** 32 - 1) & 0o7777;
}

// The options as an object: a string is its encoding.
export function optionsOf(given, fallback = {}) {
  if (given === undefined || given === null || typeof given === "function") return fallback;
  const options = typeof given === "string" ? { encoding: given } : given;
  if (typeof options !== "object") throw wrongType("options", "one of type string or an instance of Object", given);
  const { encoding, signal } = options;
  if (encoding !== undefined && encoding !== null && encoding !== "buffer" && known(encoding) === undefined) throw wrongValue("encoding", encoding, "is invalid encoding");
  signal?.throwIfAborted?.();
  return { ...fallback, ...options };
}

export function flagOption(value, name, fallback = false) {
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw wrongType(name, "of type boolean", value);
  return value;
}

// Bytes that were read, in the requested form.
export const decoded = (bytes, { encoding }) => (encoding && encoding !== "buffer" ? bytes.toString(encoding) : bytes);

// A name from the system, in the requested form.
export const nameAs = (text, { encoding }) => (encoding === "buffer" ? Buffer.from(text) : encoding && known(encoding) !== "utf8" ? Buffer.from(text).toString(encoding) : text);

export function bytesOf(data, { encoding } = {}, name = "data") {
  if (typeof data === "string") {
    const bytes = Buffer.from(data, encodingFor(encoding === "buffer" ? undefined : encoding));
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw wrongType(name, "of type string or an instance of Buffer, TypedArray, or DataView", data);
}
