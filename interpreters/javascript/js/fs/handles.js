// The FileHandle of node:fs/promises.
import { EventEmitter } from "../events.js";
import { closeSync, checked, fchmodSync, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync, futimesSync, openSync, readSync, readvSync, writeSync, writevSync } from "./descriptors.js";
import { appendFileSync, readFileSync, writeFileSync } from "./files.js";
import { Buffer } from "../buffer.js";
import { systemError } from "./call.js";
import { ReadStream, WriteStream } from "./streams.js";
import { lines } from "../readline.js";

const READ_BYTES = 16 * 1024;

export class FileHandle extends EventEmitter {
  #fd;
  constructor(fd) {
    super();
    this.#fd = checked(fd);
  }
  get fd() {
    return this.#fd;
  }
  #open(syscall) {
    if (this.#fd < 0) throw systemError("EBADF", syscall);
    return this.#fd;
  }
  async read(buffer, offset, length, position) {
    if (buffer === undefined || buffer === null || !ArrayBuffer.isView(buffer)) ({ buffer = Buffer.alloc(READ_BYTES), offset, length, position } = buffer ?? {});
    return { bytesRead: readSync(this.#open("read"), buffer, offset, length, position), buffer };
  }
  async write(buffer, ...rest) {
    return { bytesWritten: writeSync(this.#open("write"), buffer, ...rest), buffer };
  }
  async readv(buffers, position) {
    return { bytesRead: readvSync(this.#open("read"), buffers, position), buffers };
  }
  async writev(buffers, position) {
    return { bytesWritten: writevSync(this.#open("write"), buffers, position), buffers };
  }
  async close() {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    closeSync(fd);
    this.emit("close");
  }
  createReadStream(options) {
    return new ReadStream("", { ...options, fd: this.#open("read"), autoClose: options?.autoClose ?? true });
  }
  createWriteStream(options) {
    return new WriteStream("", { ...options, fd: this.#open("write"), autoClose: options?.autoClose ?? true });
  }
  readLines(options) {
    return lines(this.createReadStream(options));
  }
  [Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose")]() {
    return this.close();
  }
}

for (const [name, work] of Object.entries({ readFile: readFileSync, writeFile: writeFileSync, appendFile: appendFileSync, stat: fstatSync, truncate: ftruncateSync, sync: fsyncSync, datasync: fdatasyncSync, utimes: futimesSync, chmod: fchmodSync })) {
  Object.defineProperty(FileHandle.prototype, name, {
    async value(...args) {
      if (this.fd < 0) throw systemError("EBADF", name);
      return work(this.fd, ...args);
    },
    writable: true,
    configurable: true,
  });
}

export const openHandle = (path, flags, mode) => new FileHandle(openSync(path, flags, mode));
