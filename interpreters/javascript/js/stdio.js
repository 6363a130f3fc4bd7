// The three standard streams. Output leaves the guest at once; input is one sequence of bytes with
// one position, whether it is read as a stream, by its descriptor or as /dev/stdin.
import { Readable, Writable } from "readable-stream";
import { host, write } from "./host.js";
import { Buffer } from "./buffer.js";
import { nextTick } from "./ticks.js";
import { timers } from "./timers.js";
import { adopt } from "./streams-process.js";

const CHUNK_BYTES = 64 * 1024;

const input = { text: "", bytes: null, at: 0 };
export function beginInput(text) {
  input.text = text;
  input.bytes = null;
  input.at = 0;
  stdin = null;
}

// At most `most` bytes from where the last read ended.
export function readInput(most = Infinity) {
  input.bytes ??= Buffer.from(input.text);
  const part = input.bytes.subarray(input.at, Math.min(input.bytes.length, input.at + most));
  input.at += part.length;
  return part;
}

let stdin = null;
export function standardInput() {
  stdin ??= Object.assign(
    new Readable({
      highWaterMark: CHUNK_BYTES,
      read() {
        timers.setImmediate(() => {
          const chunk = readInput(CHUNK_BYTES);
          this.push(chunk.length ? chunk : null);
        });
      },
    }),
    { fd: 0, isRaw: false, ref: () => stdin, unref: () => stdin },
  );
  return stdin;
}

function output(fd) {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      send(chunk, encoding);
      done();
    },
  });
  const send = (chunk, encoding) => {
    if (typeof chunk === "string" && (encoding === "utf8" || encoding === "utf-8" || encoding === "buffer")) write(fd, chunk);
    else host.writeBytes(fd, typeof chunk === "string" ? Buffer.from(chunk, encoding) : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  };
  const slow = stream.write;
  // Text, the common case, does not need a stream's state.
  const fast = function (chunk, encoding, done) {
    if (typeof chunk !== "string" || encoding !== undefined || stream.writableCorked || stream.writableEnded) return slow.call(this, chunk, encoding, done);
    write(fd, chunk);
    return true;
  };
  // Standard output cannot be closed: a later line would be lost silently.
  const end = (chunk, encoding, done) => {
    const callback = [chunk, encoding, done].find((argument) => typeof argument === "function");
    if (chunk !== undefined && chunk !== null && chunk !== callback) stream.write(chunk, encoding === callback ? undefined : encoding);
    nextTick(() => stream.emit("finish"));
    if (callback) nextTick(callback);
    return stream;
  };
  return Object.assign(stream, { fd, write: fast, end, destroy: () => stream, destroySoon: () => stream, _isStdio: true });
}

export const stdout = output(1);
export const stderr = output(2);
adopt(stdout, stderr);
const untouched = new Map([[1, stdout.write], [2, stderr.write]]);

// Console output goes through a `write` that a script has replaced.
export function print(fd, text) {
  const stream = fd === 1 ? stdout : stderr;
  if (stream.write === untouched.get(fd)) write(fd, text);
  else stream.write(text);
}
