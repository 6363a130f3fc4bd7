// Globals that the bundled libraries read while they load, and that QuickJS lacks on WebAssembly.
// main.js removes them again, so that a script sees only what is really available.
export const lent = ["Atomics"].filter((name) => !(name in globalThis));
for (const name of lent) globalThis[name] = {};
