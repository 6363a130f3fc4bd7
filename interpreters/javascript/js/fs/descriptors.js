// Files by their descriptors: open, read, write, close. 0 to 2 are the standard streams.
import { host } from "../host.js";
import { Buffer, encodingFor } from "../buffer.js";
import { mustBeInteger, outOfRange, wrongType } from "../faults.js";
import { readInput } from "../stdio.js";
import { absolute, attempt, pathText, systemError } from "./call.js";
import { constants, flagBits, modeBits } from "./options.js";
import { remember, stats } from "./stats.js";

const STREAMS = new Map([["/dev/stdin", 0], ["/dev/fd/0", 0], ["/proc/self/fd/0", 0], ["/dev/stdout", 1], ["/dev/fd/1", 1], ["/proc/self/fd/1", 1], ["/dev/stderr", 2], ["/dev/fd/2", 2], ["/proc/self/fd/2", 2]]);
const NULL_DEVICE = "/dev/null";
const NULL_FIRST = 1 << 20;
const UMASK = 0o22;
const PIECE_BYTES = 1 << 20;

const nulls = new Set();
// The path of each descriptor, for what is remembered by path.
const paths = new Map();

export const isDevice = (path) => STREAMS.has(path) || path === NULL_DEVICE;

export function checked(fd) {
  if (typeof fd !== "number") throw wrongType("fd", "of type number", fd);
  return mustBeInteger(fd, "fd", 0, 2 ** 31 - 1);
}

export function openSync(path, flags, mode) {
  const shown = pathText(path);
  const bits = flagBits(flags);
  const permissions = modeBits(mode, 0o666);
  const whole = absolute(shown);
  if (STREAMS.has(whole)) return STREAMS.get(whole);
  if (whole === NULL_DEVICE) {
    const fd = NULL_FIRST + nulls.size;
    nulls.add(fd);
    return fd;
  }
  const fresh = bits & constants.O_CREAT && attempt("lstat", whole)[0] === "ENOENT";
  const [code, fd] = shown === "" ? ["ENOENT"] : attempt("open", whole, bits);
  if (code !== "") throw systemError(code, "open", shown);
  if (fresh && mode !== undefined && mode !== null) remember(whole, permissions & ~UMASK);
  paths.set(fd, whole);
  return fd;
}

export function closeSync(fd) {
  if (nulls.delete(checked(fd)) || fd <= 2) return;
  paths.delete(fd);
  onDescriptor("close", "close", fd);
}

export function onDescriptor(operation, syscall, fd, ...args) {
  const [code, value] = attempt(operation, checked(fd), ...args);
  if (code !== "") throw systemError(code, syscall);
  return value;
}

export const pathOf = (fd) => paths.get(checked(fd)) ?? "";

const STREAM_FACTS = [0, 0, "file", 0, 0];
export function fstatSync(fd, options) {
  if (checked(fd) <= 2 || nulls.has(fd)) return stats(STREAM_FACTS, "", options?.bigint);
  return stats(onDescriptor("fstat", "fstat", fd), pathOf(fd), options?.bigint);
}

// At most `length` bytes from `position`, or from where the last read ended.
function readSome(fd, length, position) {
  if (fd === 0) return readInput(length);
  if (nulls.has(fd)) return Buffer.alloc(0);
  return Buffer.from(onDescriptor("read", "read", fd, length, position).buffer);
}

export function readAll(fd) {
  const parts = [];
  for (;;) {
    const part = readSome(fd, PIECE_BYTES, -1);
    if (part.length === 0) return parts.length === 1 ? parts[0] : Buffer.concat(parts);
    parts.push(part);
  }
}

export function writeAll(fd, bytes, position) {
  if (nulls.has(fd)) return bytes.length;
  if (fd === 1 || fd === 2) {
    host.writeBytes(fd, bytes);
    return bytes.length;
  }
  return onDescriptor("write", "write", fd, bytes, position);
}

function positionOf(position) {
  if (position === undefined || position === null || position === -1) return -1;
  if (typeof position === "bigint") position = Number(position);
  return mustBeInteger(position, "position", 0);
}

const view = (buffer) => {
  if (!ArrayBuffer.isView(buffer)) throw wrongType("buffer", "an instance of Buffer, TypedArray, or DataView", buffer);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
};

// offset, length and position, as numbers or as one object.
function range(size, offset, length, position) {
  if (offset !== null && typeof offset === "object") ({ offset, length, position } = offset);
  offset = offset === undefined || offset === null ? 0 : mustBeInteger(offset, "offset", 0);
  if (offset > size) throw outOfRange("offset", `>= 0 && <= ${size}`, offset);
  length = length === undefined || length === null ? size - offset : mustBeInteger(length, "length", 0);
  if (length > size - offset) throw outOfRange("length", `<= ${size - offset}`, length);
  return { offset, length, position: positionOf(position) };
}

export function readSync(fd, buffer, offset, length, position) {
  checked(fd);
  const target = view(buffer);
  const asked = range(target.length, offset, length, position);
  if (asked.length === 0) return 0;
  const part = readSome(fd, asked.length, asked.position);
  target.set(part, asked.offset);
  return part.length;
}

export function writeSync(fd, data, offset, length, position) {
  checked(fd);
  if (typeof data === "string") {
    const bytes = Buffer.from(data, encodingFor(length));
    return writeAll(fd, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), positionOf(offset));
  }
  const source = view(data);
  const asked = range(source.length, offset, length, position);
  return writeAll(fd, source.subarray(asked.offset, asked.offset + asked.length), asked.position);
}

function each(list, one, position) {
  if (!Array.isArray(list)) throw wrongType("buffers", "an instance of ArrayBufferView[]", list);
  let done = 0;
  for (const buffer of list) {
    const count = one(buffer, position === undefined || position === null ? null : position + done);
    done += count;
    if (count < buffer.byteLength) break;
  }
  return done;
}
export const readvSync = (fd, buffers, position) => each(buffers, (buffer, at) => readSync(fd, buffer, 0, buffer.byteLength, at), position);
export const writevSync = (fd, buffers, position) => each(buffers, (buffer, at) => writeSync(fd, buffer, 0, buffer.byteLength, at), position);

export const ftruncateSync = (fd, length = 0) => void onDescriptor("ftruncate", "ftruncate", fd, Math.max(0, mustBeInteger(length, "len")));
export function fsyncSync(fd) {
  if (checked(fd) > 2 && !nulls.has(fd)) onDescriptor("fsync", "fsync", fd);
}
export const fdatasyncSync = fsyncSync;

export function seconds(time, name) {
  const value = time instanceof Date ? time.getTime() / 1000 : typeof time === "string" ? Number(time) : time;
  if (typeof value !== "number" || Number.isNaN(value)) throw wrongType(name, "an instance of Date or a number", time);
  return Number.isFinite(value) && value >= 0 ? value : Date.now() / 1000;
}
export const futimesSync = (fd, atime, mtime) => void onDescriptor("futimes", "futime", fd, seconds(atime, "atime"), seconds(mtime, "mtime"));
export const fchmodSync = (fd, mode) => remember(pathOf(fd), modeBits(mode));
export const fchownSync = (fd) => void checked(fd);
