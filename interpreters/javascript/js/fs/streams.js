// Files as streams.
import { Readable, Writable } from "readable-stream";
import { Buffer } from "../buffer.js";
import { mustBeInteger, outOfRange } from "../faults.js";
import { timers } from "../timers.js";
import { pathText } from "./call.js";
import { closeSync, openSync, readSync, writeSync } from "./descriptors.js";
import { optionsOf } from "./options.js";

const CHUNK_BYTES = 64 * 1024;

// Files are opened in a later turn, so that an error reaches listeners added until then.
function opener(stream, flags, mode) {
  return (done) => {
    try {
      if (typeof stream.fd !== "number") stream.fd = openSync(stream.path, flags, mode);
    } catch (error) {
      return done(error);
    }
    done();
    stream.emit("open", stream.fd);
    stream.emit("ready");
  };
}

function closer(stream, error, done) {
  const fd = stream.fd;
  stream.fd = null;
  try {
    if (typeof fd === "number" && fd > 2 && stream.autoClose) closeSync(fd);
  } catch (failure) {
    return done(error ?? failure);
  }
  done(error);
}

function bound(value, name) {
  return value === undefined || value === Infinity ? undefined : mustBeInteger(value, name, 0);
}

export class ReadStream extends Readable {
  constructor(path, given) {
    const options = optionsOf(given);
    const { autoClose = true, emitClose = true, encoding, fd = null, flags = "r", highWaterMark = CHUNK_BYTES, mode = 0o666, signal } = options;
    super({ highWaterMark, encoding, emitClose, signal, autoDestroy: autoClose });
    this.path = fd === null ? pathText(path) : undefined;
    this.fd = typeof fd === "object" && fd !== null ? fd.fd : fd;
    Object.assign(this, { flags, mode, autoClose, bytesRead: 0, start: bound(options.start, "start"), end: bound(options.end, "end") ?? Infinity });
    if (this.start !== undefined && this.start > this.end) throw outOfRange("start", `<= "end" (here: ${this.end})`, this.start);
    this.at = this.start;
  }
  _construct(done) {
    opener(this, this.flags, this.mode)(done);
  }
  // In a later turn, as for a real disk.
  _read(size) {
    timers.setImmediate(() => this.destroyed || this.readNow(size));
  }
  readNow(size) {
    const left = this.end === Infinity ? Infinity : this.end - (this.start ?? 0) + 1 - this.bytesRead;
    const piece = Buffer.allocUnsafe(Math.min(size, left));
    let count = 0;
    try {
      if (piece.length) count = readSync(this.fd, piece, 0, piece.length, this.at ?? null);
    } catch (error) {
      return this.destroy(error);
    }
    if (this.at !== undefined) this.at += count;
    this.bytesRead += count;
    this.push(count ? piece.subarray(0, count) : null);
  }
  _destroy(error, done) {
    closer(this, error, done);
  }
  close(done) {
    if (done) this.once("close", done);
    this.destroy();
  }
  get pending() {
    return this.fd === null;
  }
}

export class WriteStream extends Writable {
  constructor(path, given) {
    const options = optionsOf(given);
    const { autoClose = true, emitClose = true, encoding, fd = null, flags, highWaterMark = 16 * 1024, mode = 0o666, signal } = options;
    super({ highWaterMark, emitClose, signal, autoDestroy: autoClose, decodeStrings: true, defaultEncoding: encoding ?? "utf8" });
    this.path = fd === null ? pathText(path) : undefined;
    this.fd = typeof fd === "object" && fd !== null ? fd.fd : fd;
    const start = bound(options.start, "start");
    Object.assign(this, { flags: flags ?? "w", mode, autoClose, bytesWritten: 0, start, at: start });
  }
  _construct(done) {
    opener(this, this.flags, this.mode)(done);
  }
  _write(chunk, _encoding, done) {
    let at = 0;
    try {
      while (at < chunk.length) {
        const count = writeSync(this.fd, chunk, at, chunk.length - at, this.at ?? null);
        at += count;
        if (this.at !== undefined) this.at += count;
        this.bytesWritten += count;
      }
    } catch (error) {
      return done(error);
    }
    done();
  }
  _destroy(error, done) {
    closer(this, error, done);
  }
  close(done) {
    if (done) this.once("close", done);
    this.autoClose = true;
    this.end();
  }
  get pending() {
    return this.fd === null;
  }
}
