// The prelude: everything that the interpreter offers a script besides the language. It is
// evaluated once, while the interpreter module is built, and is part of the snapshot every run
// starts from.
import { lent } from "./gaps.js";
import "core-js/stable/atob";
import "core-js/stable/btoa";
import "core-js/stable/url";
import "core-js/stable/url-search-params";
import "core-js/stable/structured-clone";
import { host, define } from "./host.js";
import { report } from "./errors.js";
import { inspect } from "./console.js";
import "./encoding.js";
import "./abort.js";
import { returnToWork } from "./fs/call.js";
import { tick } from "./timers.js";
import { runTicks } from "./ticks.js";
import { setTimeOrigin } from "./performance.js";
import { beginProcess, emitBeforeExit, emitExit, exitCode, takesRejection, takesUncaught } from "./process.js";
import { BUILTINS, builtin, builtinKeys, commonJs, describe, loadedFile, mainModule, missing, notFound, require } from "./modules.js";
import { declared } from "./declared.js";
import { forgetPlaces } from "./places.js";
import { assignedResult, beginCall, endCall, beginScript, exportedValue, sessionText } from "./session.js";
import { asBody, endsInExpression, further, rewrite, withoutFence } from "./source.js";
import { arrived, openToRequests } from "./fetch.js";
import "./absent.js";
import { hasTypes, withoutTypes } from "./types.js";
import { restoreNames } from "./names.js";
import { brief, wordFor } from "./words.js";
import "./locale.js";

// The generated source of a built-in module gets the module from here.
define(globalThis, { [Symbol.for("cofferdam.builtin")]: builtin, [Symbol.for("cofferdam.file")]: loadedFile });
define(globalThis, { require, module: mainModule, exports: mainModule.exports, __filename: mainModule.filename, __dirname: mainModule.path, $importMeta: describe({}, "main.js") });

for (const module of [...Object.values(BUILTINS), globalThis]) restoreNames(module);

for (const name of lent) delete globalThis[name];

const SHOWN_LIMIT = 4096;
const clip = (text) => (text.length > SHOWN_LIMIT ? text.slice(0, SHOWN_LIMIT) : text);

host.boot({
  begin(args, stdin, file, first, network) {
    openToRequests(network);
    beginProcess(args, stdin);
    forgetPlaces(file);
    beginScript(file);
    if (!first) return;
    setTimeOrigin();
    returnToWork();
  },
  beginCall,
  endCall,
  emitBeforeExit,
  emitExit,
  exitCode,
  takesRejection,
  takesUncaught,
  tick,
  arrived,
  runTicks,
  report,
  show: (value) => clip(inspect(value, { maxStringLength: SHOWN_LIMIT })),
  builtin,
  builtinKeys,
  commonJs,
  describe,
  missing,
  notFound,
  rewrite,
  hasTypes,
  withoutTypes,
  asBody,
  sessionText,
  withoutFence,
  further,
  endsInExpression,
  declared,
  wordFor,
  brief,
  isArray: Array.isArray,
  textOf: (value) => `${value}`,
  assignedResult,
  exportedValue,
  exportedRun: () => (typeof mainModule.exports === "function" ? mainModule.exports : mainModule.exports?.run),
});
