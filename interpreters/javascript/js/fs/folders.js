// Directories: make, list, remove, copy whole trees.
import { coded, mustBeInteger, wrongType } from "../faults.js";
import { absolute, attempt, onPath, pathText, systemError } from "./call.js";
import { chmodSync, copyFileSync, existsSync, lstatSync, readlinkSync, statSync, symlinkSync, unlinkSync, utimesSync } from "./files.js";
import { flagOption, modeBits, nameAs, optionsOf } from "./options.js";
import { Dirent, forget, remember } from "./stats.js";

const UMASK = 0o22;

export function mkdirSync(path, given) {
  const options = typeof given === "number" || typeof given === "string" ? { mode: given } : (given ?? {});
  const mode = modeBits(options.mode, undefined);
  const made = (folder) => mode !== undefined && remember(folder, mode & ~UMASK);
  if (!flagOption(options.recursive, "options.recursive")) {
    onPath("mkdir", "mkdir", path);
    made(absolute(pathText(path)));
    return undefined;
  }
  const shown = pathText(path);
  if (shown === "") throw systemError("ENOENT", "mkdir", shown);
  let first;
  let whole = "";
  for (const part of absolute(shown).split("/").filter(Boolean)) {
    whole += `/${part}`;
    const [code, found] = attempt("stat", whole);
    if (code === "" && found[2] === "directory") continue;
    if (code === "") throw systemError(whole === absolute(shown) ? "EEXIST" : "ENOTDIR", "mkdir", shown);
    const [problem] = attempt("mkdir", whole);
    // The parents of the run's directories exist but cannot be read.
    if (problem !== "" && whole === absolute(shown).replace(/\/$/, "")) throw systemError(problem, "mkdir", shown);
    if (problem === "") {
      first ??= whole;
      made(whole);
    }
  }
  return first;
}

const sorted = (entries) => entries.sort((a, b) => (a[0] < b[0] ? -1 : 1));

export function readdirSync(path, given) {
  const options = optionsOf(given);
  const shown = pathText(path);
  const typed = flagOption(options.withFileTypes, "options.withFileTypes");
  const found = [];
  const look = (folder, prefix) => {
    for (const [name, kind] of sorted(onPath("scandir", "scandir", folder))) {
      found.push(typed ? new Dirent(name, folder, kind, options) : nameAs(prefix + name, options));
      if (options.recursive && kind === "directory") look(`${folder.replace(/\/$/, "")}/${name}`, `${prefix}${name}/`);
    }
  };
  flagOption(options.recursive, "options.recursive");
  look(shown, "");
  return found;
}

export function rmdirSync(path, options = {}) {
  if (flagOption(options?.recursive, "options.recursive")) return rmSync(path, { recursive: true });
  onPath("rmdir", "rmdir", path);
  forget(absolute(pathText(path)));
}

export function rmSync(path, options = {}) {
  const { force, recursive } = options ?? {};
  const shown = pathText(path);
  flagOption(force, "options.force");
  flagOption(recursive, "options.recursive");
  if (options?.maxRetries !== undefined) mustBeInteger(options.maxRetries, "options.maxRetries", 0);
  if (options?.retryDelay !== undefined) mustBeInteger(options.retryDelay, "options.retryDelay", 0);
  const about = lstatSync(shown, { throwIfNoEntry: !force });
  if (about === undefined) return;
  if (!about.isDirectory()) return unlinkSync(shown);
  if (!recursive) throw Object.assign(coded(Error, "ERR_FS_EISDIR", `Path is a directory: rm returned EISDIR (is a directory) ${shown}`, { errno: 21, syscall: "rm", path: shown }), { name: "SystemError" });
  onPath("rmtree", "rm", shown);
  forget(absolute(shown));
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
export function mkdtempSync(prefix, given) {
  const options = optionsOf(given);
  const shown = pathText(prefix, "prefix");
  for (;;) {
    const name = shown + Array.from({ length: 6 }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]).join("");
    const [code] = attempt("mkdir", absolute(name));
    if (code === "") return nameAs(name, options);
    if (code !== "EEXIST") throw systemError(code, "mkdtemp", `${shown}XXXXXX`);
  }
}

export class Dir {
  #entries;
  #closed = false;
  constructor(path, options) {
    this.path = path;
    this.#entries = readdirSync(path, { ...options, withFileTypes: true });
  }
  readSync() {
    if (this.#closed) throw coded(Error, "ERR_DIR_CLOSED", "Directory handle was closed");
    return this.#entries.shift() ?? null;
  }
  async read() {
    return this.readSync();
  }
  closeSync() {
    if (this.#closed) throw coded(Error, "ERR_DIR_CLOSED", "Directory handle was closed");
    this.#closed = true;
  }
  async close() {
    this.closeSync();
  }
  async *[Symbol.asyncIterator]() {
    for (let entry = this.readSync(); entry; entry = this.readSync()) yield entry;
    this.#closed = true;
  }
}
export const opendirSync = (path, given) => new Dir(pathText(path), optionsOf(given));

const below = (path, name) => `${path.replace(/\/$/, "")}/${name}`;

export function cpSync(from, to, options = {}) {
  const { dereference, errorOnExist, filter, force = true, mode, preserveTimestamps, recursive, verbatimSymlinks } = options ?? {};
  for (const [name, value] of Object.entries({ dereference, errorOnExist, force, preserveTimestamps, recursive, verbatimSymlinks })) flagOption(value, `options.${name}`);
  if (filter !== undefined && typeof filter !== "function") throw wrongType("options.filter", "of type function", filter);
  const [source, target] = [pathText(from, "src"), pathText(to, "dest")];
  if (`${absolute(target)}/`.startsWith(`${absolute(source).replace(/\/$/, "")}/`)) throw coded(Error, "ERR_FS_CP_EINVAL", `Invalid src or dest: cp returned EINVAL (cannot copy ${source} to a subdirectory of self ${target}) ${target}`);
  const copy = (one, other) => {
    if (filter && !filter(one, other)) return;
    const about = dereference ? statSync(one) : lstatSync(one);
    if (about.isDirectory()) {
      if (!recursive) throw coded(Error, "ERR_FS_EISDIR", `Recursive option not enabled, cannot copy a directory: cp returned EISDIR (${one} is a directory (not copied)) ${one}`);
      mkdirSync(other, { recursive: true });
      for (const name of readdirSync(one)) copy(below(one, name), below(other, name));
      return;
    }
    if (existsSync(other) && !force) {
      if (errorOnExist) throw coded(Error, "ERR_FS_CP_EEXIST", `Target already exists: cp returned EEXIST (${other} already exists) ${other}`);
      return;
    }
    if (about.isSymbolicLink()) {
      if (existsSync(other)) unlinkSync(other);
      symlinkSync(readlinkSync(one), other);
      return;
    }
    const parent = absolute(other).replace(/\/[^/]*$/, "");
    if (!existsSync(parent)) mkdirSync(parent, { recursive: true });
    copyFileSync(one, other, mode ?? 0);
    if (preserveTimestamps) utimesSync(other, about.atime, about.mtime);
    chmodSync(other, about.mode & 0o7777);
  };
  copy(source, target);
}
