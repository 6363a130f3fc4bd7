// The native functions that the Rust half of the interpreter hands over. They are taken off the
// global object here, before any code of the user's runs, so that no script can replace them.
export const host = globalThis.__host;
delete globalThis.__host;

// Native calls take well-formed strings only; a lone surrogate becomes U+FFFD, as in Node's output.
export const write = (fd, text) => host.write(fd, text.isWellFormed() ? text : text.toWellFormed());

// Functions of this prelude are part of the platform: no one should be able to list them.
export function define(target, members) {
  for (const key of Reflect.ownKeys(members)) {
    const descriptor = Object.getOwnPropertyDescriptor(members, key);
    Object.defineProperty(target, key, { ...descriptor, enumerable: false, configurable: true });
  }
}

// Where the script stands: relative paths begin here.
export const WORK = "/work";
export const place = { cwd: WORK };
