// node:path: the userland package of Node's module, with Node's messages for a wrong argument.
import path from "path-browserify";
import { wrongType } from "./faults.js";

for (const name of ["basename", "dirname", "extname", "isAbsolute", "join", "normalize", "parse", "relative", "resolve"]) {
  const work = path[name];
  path[name] = {
    [name](...args) {
      for (const arg of args) if (typeof arg !== "string" && !(name === "basename" && arg === undefined && typeof args[0] === "string")) throw wrongType("path", "of type string", arg);
      return work(...args);
    },
  }[name];
}
path.posix = path;
path.toNamespacedPath = (text) => text;
export { path };
