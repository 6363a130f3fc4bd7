// Whole files: read, write, append, copy, and other operations on one name.
import { WORK } from "../host.js";
import { mustBeFunction, mustBeInteger, unavailable, wrongType } from "../faults.js";
import { absolute, attempt, onPath, onPaths, pathText, systemError } from "./call.js";
import { checked, closeSync, ftruncateSync, isDevice, openSync, readAll, seconds, writeAll } from "./descriptors.js";
import { bytesOf, constants, decoded, flagOption, modeBits, nameAs, optionsOf } from "./options.js";
import { follow, forget, permissions, remember, stats } from "./stats.js";

function withFile(path, flag, mode, work) {
  if (typeof path === "number") return work(checked(path));
  const fd = openSync(path, flag, mode);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

export function readFileSync(path, given) {
  const options = optionsOf(given, { flag: "r" });
  return decoded(withFile(path, options.flag, undefined, readAll), options);
}

function put(path, data, options) {
  const bytes = bytesOf(data, options);
  flagOption(options.flush ?? undefined, "options.flush");
  withFile(path, options.flag, options.mode, (fd) => {
    let at = 0;
    while (at < bytes.length) at += writeAll(fd, bytes.subarray(at), -1);
  });
}
export const writeFileSync = (path, data, given) => put(path, data, { ...optionsOf(given), flag: optionsOf(given).flag ?? "w" });
export const appendFileSync = (path, data, given) => put(path, data, { ...optionsOf(given), flag: optionsOf(given).flag ?? "a" });

export function existsSync(path) {
  try {
    const whole = absolute(pathText(path));
    return whole !== "" && (isDevice(whole) || attempt("stat", whole)[0] === "");
  } catch {
    return false;
  }
}

function stat(operation) {
  return (path, options) => {
    const { bigint = false, throwIfNoEntry = true } = options ?? {};
    try {
      return stats(onPath(operation, operation, path), absolute(pathText(path)), bigint);
    } catch (error) {
      if (!throwIfNoEntry && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
      throw error;
    }
  };
}
export const statSync = stat("stat");
export const lstatSync = stat("lstat");

export function accessSync(path, mode = constants.F_OK) {
  mustBeInteger(mode, "mode", 0, 7);
  const whole = absolute(pathText(path));
  if (isDevice(whole)) return;
  const [, , kind] = onPath("stat", "access", path);
  if (mode & constants.X_OK && kind === "file" && !(permissions(whole, kind) & 0o111)) throw systemError("EACCES", "access", pathText(path));
  if (mode & constants.W_OK && kind === "file") {
    const [code, fd] = attempt("open", whole, constants.O_WRONLY);
    if (code !== "") throw systemError(code, "access", pathText(path));
    attempt("close", fd);
  }
}

export function copyFileSync(from, to, mode = 0) {
  mustBeInteger(mode, "mode", 0, 7);
  const exclusive = Boolean(mode & constants.COPYFILE_EXCL);
  if (mode & constants.COPYFILE_FICLONE_FORCE) throw systemError("ENOSYS", "copyfile", pathText(from, "src"), pathText(to, "dest"));
  const [source, target] = [absolute(pathText(from, "src")), absolute(pathText(to, "dest"))];
  onPaths("copyfile", "copyfile", from, to, exclusive);
  remember(target, permissions(source, "file"));
}

export function renameSync(from, to) {
  onPaths("rename", "rename", from, to);
  follow(absolute(pathText(from)), absolute(pathText(to)));
}

export function unlinkSync(path) {
  onPath("unlink", "unlink", path);
  forget(absolute(pathText(path)));
}

export const linkSync = (existing, path) => void onPaths("link", "link", existing, path);

export function symlinkSync(target, path, type) {
  if (type !== undefined && type !== null && !["dir", "file", "junction"].includes(type)) throw wrongType("type", "one of 'dir', 'file' or 'junction'", type);
  const shown = pathText(target, "target");
  const dest = pathText(path);
  const [code] = shown.startsWith("/") ? ["EPERM"] : attempt("symlink", absolute(dest), shown);
  if (code !== "") throw systemError(code, "symlink", shown, dest);
}

export const readlinkSync = (path, given) => nameAs(onPath("readlink", "readlink", path), optionsOf(given));

const LINKS_MAX = 40;
export function realpathSync(path, given) {
  const shown = pathText(path);
  let rest = absolute(shown).split("/").filter(Boolean);
  let whole = "";
  let links = 0;
  while (rest.length) {
    const next = `${whole}/${rest.shift()}`;
    const [code, found] = attempt("lstat", next);
    // A parent of the run's directories need not be readable itself.
    if (code !== "" && (rest.length === 0 || code !== "ENOENT" || next.startsWith(`${WORK}/`))) throw systemError(code, "lstat", shown);
    if (code !== "" || found[2] !== "symlink") {
      whole = next;
      continue;
    }
    if (++links > LINKS_MAX) throw systemError("ELOOP", "realpath", shown);
    const target = attempt("readlink", next)[1];
    rest = [...absolute(target.startsWith("/") ? target : `${whole}/${target}`).split("/").filter(Boolean), ...rest];
    whole = "";
  }
  return nameAs(whole || "/", optionsOf(given));
}
realpathSync.native = realpathSync;

export function truncateSync(path, length = 0) {
  withFile(path, "r+", undefined, (fd) => ftruncateSync(fd, length ?? 0));
}

export const utimesSync = (path, atime, mtime) => void onPath("utimes", "utime", path, seconds(atime, "atime"), seconds(mtime, "mtime"));
export const lutimesSync = utimesSync;

export function chmodSync(path, mode) {
  const permissions = modeBits(mode);
  if (permissions === undefined) throw wrongType("mode", "of type number", mode);
  onPath("stat", "chmod", path);
  remember(absolute(pathText(path)), permissions);
}

function chown(path, uid, gid) {
  mustBeInteger(uid, "uid", -1, 2 ** 32 - 1);
  mustBeInteger(gid, "gid", -1, 2 ** 32 - 1);
  onPath("stat", "chown", path);
  if ((uid !== -1 && uid !== 0) || (gid !== -1 && gid !== 0)) throw systemError("EPERM", "chown", pathText(path));
}
export const chownSync = chown;
export const lchownSync = chown;

const unwatched = (name) => (path, ...rest) => {
  pathText(path, "filename");
  if (rest.length) mustBeFunction(rest.at(-1), "listener");
  throw unavailable(`fs.${name}`, "nothing but the script itself changes a sandbox's files");
};
export const watch = unwatched("watch");
export const watchFile = unwatched("watchFile");
export const unwatchFile = () => {};
