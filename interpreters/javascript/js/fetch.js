// fetch, as the web has it, over requests that the host sends where the run was granted them. The host follows no
// redirects; this does, so each hop is held against the grants. Bodies are read whole: there are no streams.
import { define, host } from "./host.js";
import { URL } from "./url.js";
import { AbortSignal } from "./abort.js";

const { URLSearchParams } = globalThis;
const CLOSED = "the network is closed to this code";
const GRANT = "name the host in `grants.http`";
const GIVE_DATA = "give it the data in `files`, `stdin` or `input`";
const HOPS_MAX = 20;
const REDIRECTS = [301, 302, 303, 307, 308];
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const USUAL = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
// They are about a connection, and connections are the host's.
const OF_CONNECTIONS = ["connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

const door = { open: false };
const pending = new Map();

export function openToRequests(open) {
  door.open = open;
  pending.clear();
}

// Called by the event loop when something came for a request.
export function arrived(id, what, ...rest) {
  const waiting = pending.get(id);
  pending.delete(id);
  if (what === "failed") waiting?.reject(rest[0]);
  else waiting?.resolve(rest);
}

const wait = (id) => new Promise((resolve, reject) => pending.set(id, { resolve, reject }));

function reason(word, method, place) {
  switch (word) {
    case "closed": return ["EACCES", `${CLOSED}: no grant has ${method} ${place}; ${GRANT}, or ${GIVE_DATA}`];
    case "denied": return ["EACCES", `${CLOSED}: no grant has ${method} ${place}; ${GRANT}`];
    case "prohibited": return ["EACCES", `${place} is at an address that is not reached from here`];
    case "unknown host": return ["ENOTFOUND", `there is no host ${place}, or nobody knows it now`];
    case "refused": return ["ECONNREFUSED", `no connection to ${place}`];
    case "timeout": return ["ETIMEDOUT", `${place} did not answer in time`];
    case "certificate": return ["CERT_HAS_EXPIRED", `the certificate of ${place} is not good`];
    case "cut short": return ["ECONNRESET", `${place} ended the connection, or the host did`];
    default: return ["EPROTO", `${method} ${place}: ${word}`];
  }
}

function failure(word, method, place) {
  const [code, why] = reason(word, method, place);
  const error = new TypeError(`fetch failed: ${why}`);
  define(error, { cause: Object.assign(new Error(why), { code }) });
  return error;
}

const trimmed = (value) => `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");

class Headers {
  #fields = new Map();
  constructor(init) {
    if (init === undefined || init === null) return;
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }
  #checked(name) {
    if (!NAME.test(name)) throw new TypeError(`Headers: ${name} is an invalid header name.`);
    return `${name}`.toLowerCase();
  }
  #value(value) {
    value = trimmed(value);
    if (/[\0\n\r]|[^\0-\xff]/.test(value)) throw new TypeError(`Headers: ${JSON.stringify(value)} is an invalid header value.`);
    return value;
  }
  append(name, value) {
    name = this.#checked(name);
    this.#fields.set(name, [...(this.#fields.get(name) ?? []), this.#value(value)]);
  }
  set(name, value) {
    this.#fields.set(this.#checked(name), [this.#value(value)]);
  }
  get(name) {
    return this.#fields.get(this.#checked(name))?.join(", ") ?? null;
  }
  getSetCookie() {
    return [...(this.#fields.get("set-cookie") ?? [])];
  }
  has(name) {
    return this.#fields.has(this.#checked(name));
  }
  delete(name) {
    this.#fields.delete(this.#checked(name));
  }
  forEach(callback, self) {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }
  *entries() {
    for (const name of [...this.#fields.keys()].sort()) {
      const values = this.#fields.get(name);
      for (const value of name === "set-cookie" ? values : [values.join(", ")]) yield [name, value];
    }
  }
  *keys() {
    for (const [name] of this.entries()) yield name;
  }
  *values() {
    for (const [, value] of this.entries()) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  get [Symbol.toStringTag]() {
    return "Headers";
  }
}

const encoded = (text) => host.utf8Encode(text.toWellFormed());

// The bytes of a body, and its type if it has one of its own.
function taken(body) {
  if (body === undefined || body === null) return [undefined];
  if (body instanceof URLSearchParams) return [encoded(`${body}`), "application/x-www-form-urlencoded;charset=UTF-8"];
  if (body instanceof ArrayBuffer) return [new Uint8Array(body.slice(0))];
  if (ArrayBuffer.isView(body)) return [new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()];
  return [encoded(`${body}`), "text/plain;charset=UTF-8"];
}

// What requests and answers have in common. The body is bytes, or a function that gives a promise of them.
class Message {
  #body;
  #used = false;
  constructor(body) {
    this.#body = body;
  }
  get bodyUsed() {
    return this.#used;
  }
  async #whole() {
    if (this.#used) throw new TypeError("Body is unusable: Body has already been read");
    this.#used = this.#body !== undefined;
    return typeof this.#body === "function" ? this.#body() : this.#body ?? new Uint8Array(0);
  }
  async bytes() {
    return (await this.#whole()).slice();
  }
  async arrayBuffer() {
    return (await this.bytes()).buffer;
  }
  async text() {
    return host.utf8Decode(await this.#whole(), false).replace(/^\ufeff/, "");
  }
  async json() {
    return JSON.parse(await this.text());
  }
  static shared(message) {
    if (message.#used) throw new TypeError("Body has already been consumed.");
    return message.#body;
  }
}
const shared = Message.shared;
delete Message.shared;

class Request extends Message {
  constructor(input, init = {}) {
    const from = input instanceof Request ? input : undefined;
    const url = new URL(from ? from.url : `${input}`);
    if (url.username || url.password) throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${url.href}`);
    let method = `${init.method ?? from?.method ?? "GET"}`;
    if (USUAL.includes(method.toUpperCase())) method = method.toUpperCase();
    if (!NAME.test(method)) throw new TypeError(`'${method}' is not a valid HTTP method.`);
    const [bytes, type] = init.body === undefined && from ? [shared(from)] : taken(init.body);
    if (bytes !== undefined && ["GET", "HEAD"].includes(method)) throw new TypeError("Request with GET/HEAD method cannot have body.");
    super(bytes);
    const headers = new Headers(init.headers ?? from?.headers);
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    const signal = init.signal === undefined ? from?.signal : init.signal;
    if (signal && !(signal instanceof AbortSignal)) throw new TypeError("the signal of a request must be an AbortSignal");
    url.hash = "";
    define(this, { url: url.href, method, headers, signal: signal ?? null, redirect: init.redirect ?? from?.redirect ?? "follow" });
  }
  clone() {
    return new Request(this);
  }
}

class Response extends Message {
  constructor(body, { status = 200, statusText = "", headers, url = "", redirected = false } = {}) {
    const [bytes, type] = typeof body === "function" ? [body] : taken(body);
    super(bytes);
    headers = new Headers(headers);
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    define(this, { status, statusText: `${statusText}`, headers, url, redirected, type: url ? "basic" : "default" });
  }
  get ok() {
    return this.status >= 200 && this.status < 300;
  }
  clone() {
    const { status, statusText, headers, url, redirected } = this;
    return new Response(shared(this), { status, statusText, headers, url, redirected });
  }
  static json(data, init = {}) {
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(JSON.stringify(data), { ...init, headers });
  }
}

// Waits for what comes for a request, or for the signal.
async function awaited(id, signal, about) {
  const abort = () => {
    pending.get(id)?.reject(undefined);
    pending.delete(id);
    host.dropRequest(id);
  };
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await wait(id);
  } catch (word) {
    throw signal?.aborted ? signal.reason : failure(word, ...about);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

// One request and the head of its answer.
async function exchange(url, method, headers, bytes, signal) {
  signal?.throwIfAborted();
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError(`fetch failed: ${url.protocol} is not a scheme that it knows`);
  const secure = url.protocol === "https:";
  const about = [method, `${url.hostname}:${url.port || (secure ? 443 : 80)}`];
  if (!door.open) throw failure("closed", ...about);
  const fields = [...headers].filter(([name]) => !OF_CONNECTIONS.includes(name) && name !== "content-length").flat();
  if (bytes !== undefined) fields.push("content-length", `${bytes.length}`);
  const [id, word] = host.send([method, url.protocol, url.host, url.pathname + url.search], fields, bytes);
  if (id === 0) throw failure(word, ...about);
  const [status, flat] = await awaited(id, signal, about);
  const answer = new Headers();
  for (let at = 0; at < flat.length; at += 2) answer.append(flat[at], flat[at + 1]);
  let whole;
  const body = () => {
    if (!whole) {
      host.readBody(id);
      whole = awaited(id, signal, about).then(([read]) => read);
    }
    return whole;
  };
  return { status, headers: answer, body, done: () => host.dropRequest(id) };
}

async function fetch(input, init) {
  const request = new Request(input, init);
  const { signal, redirect } = request;
  let { method, headers } = request;
  let bytes = shared(request);
  let url = new URL(request.url);
  for (let hops = 0; ; hops++) {
    const { status, headers: fields, body, done } = await exchange(url, method, headers, bytes, signal);
    const location = REDIRECTS.includes(status) ? fields.get("location") : null;
    if (location === null || redirect === "manual") return new Response(body, { status, statusText: "", headers: fields, url: url.href, redirected: hops > 0 });
    done();
    if (redirect === "error") throw new TypeError("fetch failed: unexpected redirect");
    if (hops === HOPS_MAX) throw new TypeError("fetch failed: redirect count exceeded");
    const next = new URL(location, url);
    headers = new Headers(headers);
    if ((status === 303 && method !== "HEAD") || (status < 303 && method === "POST")) {
      [method, bytes] = ["GET", undefined];
      for (const name of ["content-type", "content-length", "content-encoding", "content-language", "content-location"]) headers.delete(name);
    }
    if (next.origin !== url.origin) for (const name of ["authorization", "cookie"]) headers.delete(name);
    url = next;
  }
}

define(globalThis, { fetch, Headers, Request, Response });
