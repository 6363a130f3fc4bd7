// node:fs and node:fs/promises, put together: each function once for callers that wait, once with a
// callback and once as a promise.
import { mustBeFunction } from "./faults.js";
import { timers } from "./timers.js";
import { pathText } from "./fs/call.js";
import * as descriptors from "./fs/descriptors.js";
import * as files from "./fs/files.js";
import * as folders from "./fs/folders.js";
import { FileHandle, openHandle } from "./fs/handles.js";
import { constants } from "./fs/options.js";
import { Dirent, Stats } from "./fs/stats.js";
import { ReadStream, WriteStream } from "./fs/streams.js";

const { setImmediate } = timers;
const sync = Object.fromEntries([descriptors, files, folders].flatMap((part) => Object.entries(part)).filter(([name]) => name.endsWith("Sync")));

// In a later turn of the event loop, as for a real disk.
const later = (work) => new Promise((resolve, reject) => setImmediate(() => {
  try {
    resolve(work());
  } catch (error) {
    reject(error);
  }
}));

const OF_DESCRIPTORS = /^(close|read|readv|write|writev|f[a-z]+)$/;
export const fsPromises = { constants, open: (...args) => later(() => openHandle(...args)) };
export const fs = { ...sync };

// Functions that pass more than one value to their callback.
const RESULTS = { read: "bytesRead", write: "bytesWritten", readv: "bytesRead", writev: "bytesWritten" };

for (const [syncName, work] of Object.entries(sync)) {
  const name = syncName.slice(0, -4);
  if (!OF_DESCRIPTORS.test(name) && name !== "exists" && name !== "open") {
    fsPromises[name] = { [name]: async (path, ...args) => later(() => work(typeof path === "object" && path instanceof FileHandle ? path.fd : path, ...args)) }[name];
  }
  fs[name] = (...args) => {
    const callback = args.length > 1 || OF_DESCRIPTORS.test(name) ? args.pop() : undefined;
    mustBeFunction(callback, "cb");
    if (name === "exists") return void setImmediate(() => callback(work(...args)));
    if (!OF_DESCRIPTORS.test(name) && typeof args[0] !== "number") pathText(args[0]);
    const told = (value) => (name in RESULTS ? callback(null, value, args[1]) : value === undefined ? callback(null) : callback(null, value));
    setImmediate(() => {
      let value;
      try {
        value = work(...args);
      } catch (error) {
        return callback(error);
      }
      told(value);
    });
  };
}

const CUSTOM_PROMISE = Symbol.for("nodejs.util.promisify.custom");
Object.defineProperty(fs.exists, CUSTOM_PROMISE, { value: (path) => later(() => sync.existsSync(path)) });
for (const name of Object.keys(RESULTS)) {
  const key = name.startsWith("read") ? "bytesRead" : "bytesWritten";
  const what = name.endsWith("v") ? "buffers" : "buffer";
  Object.defineProperty(fs[name], CUSTOM_PROMISE, { value: (...args) => later(() => ({ [key]: sync[`${name}Sync`](...args), [what]: args[1] })) });
}

const { watch, watchFile, unwatchFile } = files;
Object.assign(fs, {
  constants,
  F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1,
  promises: fsPromises,
  createReadStream: (path, options) => new ReadStream(path, options),
  createWriteStream: (path, options) => new WriteStream(path, options),
  watch,
  watchFile,
  unwatchFile,
  Dir: folders.Dir,
  Dirent,
  ReadStream,
  Stats,
  WriteStream,
});
fsPromises.watch = watch;
