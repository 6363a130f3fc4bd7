// The prelude: everything the interpreter gives a script besides the language. It is evaluated once,
// while the interpreter module is built, and is part of the snapshot every run starts from.
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
import { tick } from "./timers.js";
import { beginProcess, process, setTimeOrigin } from "./process.js";
import { builtin, builtinKeys, mainModule, missing, require } from "./modules.js";
import { declared, endsInExpression, moduleAsScript, redeclarable } from "./source.js";

// QuickJS has no Intl; the plain form of toLocaleString is what scripts mostly want of it.
const plainNumber = function (value, options = {}) {
  const { minimumFractionDigits: least = 0, maximumFractionDigits: most = Math.max(3, least) } = options ?? {};
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value < 0 ? "-∞" : "∞";
  let [whole, fraction = ""] = Math.abs(value).toFixed(Math.min(most, 20)).split(".");
  while (fraction.length > least && fraction.endsWith("0")) fraction = fraction.slice(0, -1);
  whole = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${value < 0 ? "-" : ""}${whole}${fraction && `.${fraction}`}`;
};
define(Number.prototype, { toLocaleString(_locale, options) { return plainNumber(Number(this), options); } });
define(BigInt.prototype, { toLocaleString() { return String(this).replace(/\B(?=(\d{3})+$)/g, ","); } });

// The source of the module that `import "fs"` finds asks for it here.
define(globalThis, { [Symbol.for("cofferdam.builtin")]: builtin });
define(globalThis, { require, module: mainModule, exports: mainModule.exports });

for (const name of lent) delete globalThis[name];

const clip = (text) => (text.length > 4096 ? text.slice(0, 4096) : text);

host.boot({
  begin(args, stdin, first) {
    beginProcess(args, stdin);
    if (first) setTimeOrigin();
  },
  finish() {
    for (const event of ["beforeExit", "exit"]) {
      for (const listener of process.listeners.get(event) ?? []) listener(process.exitCode ?? 0);
    }
  },
  exitCode: () => Number(process.exitCode ?? 0) | 0,
  tick,
  report,
  show: (value) => clip(inspect(value)),
  builtin,
  builtinKeys,
  missing,
  moduleAsScript,
  redeclarable,
  endsInExpression,
  declared,
  exportedRun: () => mainModule.exports?.run,
});
