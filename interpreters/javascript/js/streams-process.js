// The small part of `process` that the streams package uses. It replaces a package.
export { nextTick } from "./ticks.js";
export const env = {};
export const version = "v20.0.0";
export const emitWarning = () => {};

// Streams that a pipeline must not end.
export let stdout;
export let stderr;
export function adopt(out, err) {
  stdout = out;
  stderr = err;
}
