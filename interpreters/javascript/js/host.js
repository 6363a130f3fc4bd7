// The native functions that the Rust half of the interpreter hands over. They are removed from the
// global object here, before user code runs, so that no script can replace them.
export const host = globalThis.__host;
delete globalThis.__host;

// Native calls take well-formed strings only; a lone surrogate becomes U+FFFD, as in Node's output.
export const write = (fd, text) => host.write(fd, text.isWellFormed() ? text : text.toWellFormed());

// Functions of this prelude are part of the platform and are not enumerable.
export function define(target, members) {
  for (const key of Reflect.ownKeys(members)) {
    const descriptor = Object.getOwnPropertyDescriptor(members, key);
    Object.defineProperty(target, key, { ...descriptor, enumerable: false, configurable: true });
  }
}

// The directory of the script: relative paths begin here.
export const WORK = "/work";
export const place = { cwd: WORK };
