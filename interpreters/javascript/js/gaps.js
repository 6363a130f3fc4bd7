// Globals that the bundled libraries read while they load, and that QuickJS lacks on WebAssembly.
// main.js takes them away again, so that a script sees truly what is there.
export const lent = ["Atomics"].filter((name) => !(name in globalThis));
for (const name of lent) globalThis[name] = {};
