// node:url: the web's URL, its conversions to and from paths, and the older functions on top of it.
import { parse as parseQuery, stringify } from "querystring-es3";
import { inspect } from "node-inspect-extracted";
import { define, place } from "./host.js";
import { coded, wrongType, wrongValue } from "./faults.js";

const { URLSearchParams } = globalThis;
const CUSTOM_INSPECT = Symbol.for("nodejs.util.inspect.custom");

// The web's URL, with the code that Node gives its errors.
export const URL = class URL extends globalThis.URL {
  constructor(...args) {
    try {
      super(...args);
    } catch (error) {
      if (!(error instanceof TypeError) || args.length === 0) throw error;
      const more = { input: `${args[0]}` };
      if (args[1] !== undefined) more.base = `${args[1]}`;
      throw coded(TypeError, "ERR_INVALID_URL", "Invalid URL", more);
    }
  }
};
const PARTS = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash"];
define(URL.prototype, {
  [CUSTOM_INSPECT](depth, options) {
    if (depth < 0) return this.href;
    const Shown = { URL: class {} }.URL;
    return inspect(Object.assign(new Shown(), Object.fromEntries(PARTS.map((name) => [name, this[name]]))), { ...options, depth });
  },
});
define(URLSearchParams.prototype, {
  [CUSTOM_INSPECT](_depth, options) {
    const pairs = [...this].map(([name, value]) => `${inspect(name, options)} => ${inspect(value, options)}`);
    return pairs.length ? `URLSearchParams { ${pairs.join(", ")} }` : "URLSearchParams {}";
  },
});
define(globalThis, { URL });

export const querystring = {
  parse: (...args) => Object.assign(Object.create(null), parseQuery(...args)),
  stringify,
  escape: (text) => encodeURIComponent(typeof text === "object" ? String(text) : text).replace(/[!'()*]/g, (character) => character),
  unescape: (text) => decodeURIComponent(text),
};
Object.assign(querystring, { decode: querystring.parse, encode: stringify });

export function fileURLToPath(given) {
  const url = typeof given === "string" ? new URL(given) : given;
  if (!(url instanceof URL)) throw wrongType("path", "of type string or an instance of URL", given);
  if (url.protocol !== "file:") throw coded(TypeError, "ERR_INVALID_URL_SCHEME", "The URL must be of scheme file");
  if (url.hostname !== "") throw coded(TypeError, "ERR_INVALID_FILE_URL_HOST", 'File URL host must be "localhost" or empty on wasi');
  if (/%2f/i.test(url.pathname)) throw coded(TypeError, "ERR_INVALID_FILE_URL_PATH", "File URL path must not include encoded / characters");
  return decodeURIComponent(url.pathname);
}

const ESCAPES = { "%": "%25", "\\": "%5C", "\n": "%0A", "\r": "%0D", "\t": "%09", "?": "%3F", "#": "%23" };
export function pathToFileURL(path) {
  if (typeof path !== "string") throw wrongType("path", "of type string", path);
  const parts = [];
  for (const part of (path.startsWith("/") ? path : `${place.cwd}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const whole = `/${parts.join("/")}${parts.length && path.endsWith("/") ? "/" : ""}`;
  return new URL(`file://${whole.replace(/[%\\\n\r\t?#]/g, (character) => ESCAPES[character])}`);
}

function urlToHttpOptions(url) {
  const { protocol, hostname, hash, search, pathname, href } = url;
  const options = { protocol, hostname: hostname.startsWith("[") ? hostname.slice(1, -1) : hostname, hash, search, pathname, path: `${pathname || ""}${search || ""}`, href };
  if (url.port !== "") options.port = Number(url.port);
  if (url.username || url.password) options.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return options;
}

const SLASHED = ["http:", "https:", "ftp:", "gopher:", "file:", "ws:", "wss:"];

class Url {
  constructor() {
    for (const name of ["protocol", "slashes", "auth", "host", "port", "hostname", "hash", "search", "query", "pathname", "path", "href"]) this[name] = null;
  }
  parse(text, ...rest) {
    return Object.assign(this, parse(text, ...rest));
  }
  format() {
    return format(this);
  }
  resolve(to) {
    return resolve(this.href, to);
  }
  resolveObject(to) {
    return parse(resolve(this.href, to));
  }
}

export function parse(text, withQuery = false, slashesDenoteHost = false) {
  if (text instanceof Url) return text;
  if (typeof text !== "string") throw wrongType("url", "of type string", text);
  const url = new Url();
  const [, protocol, slashes, authority, pathname, search, hash] = /^\s*([a-z][a-z0-9+.-]*:)?(?:(\/\/)([^/?#\\]*))?([^?#]*)(\?[^#]*)?(#.*)?\s*$/is.exec(text.trim());
  let rest = pathname ?? "";
  if (protocol) url.protocol = protocol.toLowerCase();
  if (slashes && (protocol || slashesDenoteHost)) {
    url.slashes = true;
    const [, auth, host] = /^(?:(.*)@)?(.*)$/s.exec(authority);
    if (auth !== undefined) url.auth = decodeURIComponent(auth);
    const [, hostname, port] = /^(.*?)(?::(\d*))?$/s.exec(host.toLowerCase());
    url.port = port || null;
    url.hostname = hostname.replace(/^\[(.*)\]$/, "$1");
    url.host = hostname + (port ? `:${port}` : "");
    if (rest === "" && SLASHED.includes(url.protocol)) rest = "/";
  } else if (slashes) rest = `//${authority}${rest}`;
  const escaped = (part) => part.replace(/[\s"<>`{}|\\^']/g, (character) => encodeURIComponent(character).replace("'", "%27"));
  url.hash = hash ? escaped(hash) : null;
  url.search = search ? escaped(search) : withQuery ? "" : null;
  url.query = withQuery ? querystring.parse((search ?? "").slice(1)) : search ? escaped(search.slice(1)) : null;
  url.pathname = rest === "" ? null : escaped(rest);
  url.path = url.pathname === null && url.search === null ? null : (url.pathname ?? "") + (url.search ?? "");
  url.href = format(url);
  return url;
}

export function format(url, options = {}) {
  if (typeof url === "string") url = parse(url);
  if (url instanceof URL) {
    if (options === null || typeof options !== "object") throw wrongType("options", "of type object", options);
    const { auth = true, fragment = true, search = true, unicode = false } = options;
    if (unicode && /(^|\.)xn--/.test(url.hostname)) throw wrongValue("options.unicode", unicode, "is not supported for international host names");
    const copy = new URL(url.href);
    if (!auth) copy.username = copy.password = "";
    if (!fragment) copy.hash = "";
    if (!search) copy.search = "";
    return copy.href;
  }
  if (url === null || typeof url !== "object") throw wrongType("urlObject", "one of type object or string", url);
  let protocol = url.protocol ?? "";
  if (protocol && !protocol.endsWith(":")) protocol += ":";
  const auth = url.auth ? `${encodeURIComponent(url.auth).replace(/%3A/i, ":")}@` : "";
  let host = url.host ? auth + url.host : url.hostname ? auth + (url.hostname.includes(":") ? `[${url.hostname}]` : url.hostname) + (url.port ? `:${url.port}` : "") : false;
  let pathname = (url.pathname ?? "").replace(/[?#]/g, encodeURIComponent);
  const query = url.query !== null && typeof url.query === "object" ? stringify(url.query) : "";
  let search = url.search || (query && `?${query}`) || "";
  if (search && !search.startsWith("?")) search = `?${search}`;
  let hash = url.hash ?? "";
  if (hash && !hash.startsWith("#")) hash = `#${hash}`;
  if (url.slashes || ((!protocol || SLASHED.includes(protocol)) && host !== false)) {
    host = `//${host || ""}`;
    if (pathname && !pathname.startsWith("/")) pathname = `/${pathname}`;
  }
  return `${protocol}${host || ""}${pathname}${search.replace("#", "%23")}${hash}`;
}

const NOWHERE = "resolve://";
export function resolve(from, to) {
  const url = new URL(to, new URL(from, NOWHERE));
  if (url.protocol !== "resolve:") return url.toString();
  const { pathname, search, hash } = url;
  return pathname + search + hash;
}

const ascii = (domain) => {
  try {
    return new URL(`ws://${domain}`).hostname;
  } catch {
    return "";
  }
};
export const url = { URL, URLSearchParams, Url, parse, format, resolve, fileURLToPath, pathToFileURL, urlToHttpOptions, domainToASCII: ascii, domainToUnicode: ascii };
