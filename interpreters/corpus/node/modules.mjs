import fs, { readFileSync } from "node:fs";
import * as path from "path";
fs.mkdirSync("lib", { recursive: true });
fs.writeFileSync("lib/esm.mjs", "export const where = [import.meta.url.startsWith('file:///'), import.meta.filename.endsWith('lib/esm.mjs'), import.meta.dirname.endsWith('/lib')]; export default function name() { return name.name; }");
fs.writeFileSync("lib/common.cjs", "exports.answer = 42; exports.here = [__filename.endsWith('common.cjs'), __dirname.endsWith('lib'), require('./data.json').a, module.id.endsWith('common.cjs')];");
fs.writeFileSync("lib/data.json", '\ufeff{"a": [1, null]}');
const esm = await import("./lib/esm.mjs");
console.log(esm.default(), esm.where);
const common = await import("./lib/common.cjs");
console.log(common.answer, common.default.here);
const { createRequire } = await import("node:module");
const require = createRequire(import.meta.url);
console.log(require("./lib/common.cjs").answer, require("./lib/data.json"), require("path") === require("node:path"));
for (const name of ["./nope.mjs", "./lib/nope.js"]) await import(name).catch((error) => console.log(error.code));
try { require("./nope"); } catch (error) { console.log(error.code); }
try { require(5); } catch (error) { console.log(error.code, error.message); }
console.log(import.meta.url.startsWith("file:///"), path.parse(import.meta.filename).name, import.meta.dirname === path.dirname(import.meta.filename), typeof import.meta.resolve, typeof readFileSync);
export const exported = 1;
export default class {}
