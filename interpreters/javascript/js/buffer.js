// Buffer: the package of that name, with Node's newer encodings, its error messages, and native
// conversions where they are faster.
import { Buffer, kMaxLength, kStringMaxLength } from "buffer/index.js";
import { define, host } from "./host.js";
import { coded, outOfRange, wrongType } from "./faults.js";

const CUSTOM_INSPECT = Symbol.for("nodejs.util.inspect.custom");
const SHOWN_BYTES = 50;
const SIZE_MAX = 2 ** 32;

const ENCODINGS = new Map([["utf8", "utf8"], ["utf-8", "utf8"], ["hex", "hex"], ["base64", "base64"], ["base64url", "base64url"], ["latin1", "latin1"], ["binary", "latin1"], ["ascii", "ascii"], ["utf16le", "utf16le"], ["utf-16le", "utf16le"], ["ucs2", "utf16le"], ["ucs-2", "utf16le"]]);

// The canonical name of an encoding, or undefined.
const known = (encoding) => (typeof encoding === "string" ? ENCODINGS.get(encoding) ?? ENCODINGS.get(encoding.toLowerCase()) : undefined);

function encodingFor(encoding) {
  if (encoding === undefined || encoding === null || encoding === "") return "utf8";
  const name = known(encoding);
  if (name === undefined) throw coded(TypeError, "ERR_UNKNOWN_ENCODING", `Unknown encoding: ${String(encoding)}`);
  return name;
}

const asBuffer = (bytes) => Object.setPrototypeOf(bytes, Buffer.prototype);
const plainBase64 = (text) => text.replaceAll("-", "+").replaceAll("_", "/");

const { from, alloc, compare, concat, byteLength, prototype } = Buffer;
const { toString, write, fill, indexOf, lastIndexOf, includes } = prototype;

function fromText(text, encoding) {
  switch (encoding) {
    case "utf8":
      return asBuffer(host.utf8Encode(text.toWellFormed()));
    case "hex":
      // Decoding stops at the first invalid pair.
      return from.call(Buffer, /^(?:[0-9a-f]{2})*/i.exec(text)[0], "hex");
    case "base64":
    case "base64url":
      return from.call(Buffer, plainBase64(text), "base64");
    default:
      return from.call(Buffer, text, encoding);
  }
}

const isBytes = (value) => value instanceof Uint8Array;

Object.assign(Buffer, {
  from(source, encoding, length) {
    if (typeof source === "string") return fromText(source, encodingFor(encoding));
    if (source === null || source === undefined || typeof source === "number" || typeof source === "boolean" || typeof source === "bigint" || typeof source === "symbol" || typeof source === "function") {
      throw wrongType("first argument", "of type string or an instance of Buffer, ArrayBuffer, or Array or an Array-like Object", source);
    }
    if (source instanceof ArrayBuffer && ((encoding ?? 0) > source.byteLength || (encoding ?? 0) < 0)) throw coded(RangeError, "ERR_BUFFER_OUT_OF_BOUNDS", '"offset" is outside of buffer bounds');
    return from.call(Buffer, source, encoding, length);
  },
  alloc(size, filler, encoding) {
    checkSize(size);
    if (typeof filler === "string") {
      const name = encodingFor(encoding);
      return alloc.call(Buffer, size).fill(filler, name);
    }
    return alloc.call(Buffer, size, filler);
  },
  allocUnsafe: (size) => Buffer.alloc(size),
  allocUnsafeSlow: (size) => Buffer.alloc(size),
  byteLength(value, encoding) {
    if (typeof value !== "string") {
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.byteLength;
      throw wrongType("string", "of type string or an instance of Buffer or ArrayBuffer", value);
    }
    const name = known(encoding) ?? "utf8";
    return name === "base64url" ? byteLength.call(Buffer, plainBase64(value), "base64") : byteLength.call(Buffer, value, name);
  },
  compare(a, b) {
    if (!isBytes(a)) throw wrongType("buf1", "an instance of Buffer or Uint8Array", a);
    if (!isBytes(b)) throw wrongType("buf2", "an instance of Buffer or Uint8Array", b);
    return compare.call(Buffer, a, b);
  },
  concat(list, total) {
    if (!Array.isArray(list)) throw wrongType("list", "an instance of Array", list);
    list.forEach((part, i) => {
      if (!isBytes(part)) throw wrongType(`list[${i}]`, "an instance of Buffer or Uint8Array", part);
    });
    const size = total ?? list.reduce((sum, part) => sum + part.length, 0);
    if (list.reduce((sum, part) => sum + part.length, 0) <= size) return Object.assign(concat.call(Buffer, list, size));
    const whole = concat.call(Buffer, list);
    return Buffer.from(whole.subarray(0, size));
  },
  isEncoding: (encoding) => known(encoding) !== undefined,
  copyBytesFrom(view, offset = 0, length) {
    if (!ArrayBuffer.isView(view)) throw wrongType("view", "an instance of TypedArray", view);
    const part = view.subarray(offset, length === undefined ? undefined : offset + length);
    return Buffer.from(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  },
});

function checkSize(size) {
  if (typeof size !== "number") throw wrongType("size", "of type number", size);
  if (!(size >= 0 && size <= SIZE_MAX)) throw outOfRange("size", `>= 0 && <= ${SIZE_MAX}`, size);
}

const inverted = (text, encoding) => (encoding === "base64url" ? [plainBase64(text), "base64"] : [text, encoding]);

// The arguments after the searched value: where to begin, and how the text is encoded.
function search(method) {
  return function (value, begin, encoding) {
    if (typeof begin === "string") [begin, encoding] = [undefined, begin];
    if (typeof value === "string") value = fromText(value, encodingFor(encoding));
    else if (typeof value !== "number" && !isBytes(value)) throw wrongType("value", "one of type number or string or an instance of Buffer or Uint8Array", value);
    return begin === undefined ? method.call(this, value) : method.call(this, value, begin);
  };
}

define(prototype, {
  toString(encoding, start, end) {
    const name = encodingFor(encoding);
    const length = this.length;
    const first = start === undefined || !(start > 0) ? 0 : Math.min(Math.trunc(start), length);
    const last = end === undefined ? length : !(end > 0) ? 0 : Math.min(Math.trunc(end), length);
    if (last <= first) return "";
    switch (name) {
      case "utf8":
        return host.utf8Decode(new Uint8Array(this.buffer, this.byteOffset + first, last - first), false);
      case "base64url":
        return toString.call(this, "base64", first, last).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
      default:
        return toString.call(this, name, first, last);
    }
  },
  toLocaleString(encoding, start, end) {
    return this.toString(encoding, start, end);
  },
  write(text, offset, length, encoding) {
    if (typeof text !== "string") throw wrongType("argument", "of type string", text);
    if (typeof offset === "string") [offset, length, encoding] = [undefined, undefined, offset];
    else if (typeof length === "string") [length, encoding] = [undefined, length];
    const begin = offset ?? 0;
    if (typeof begin !== "number") throw wrongType("offset", "of type number", offset);
    if (begin < 0 || begin > this.length) throw outOfRange("offset", `>= 0 && <= ${this.length}`, begin);
    const room = this.length - begin;
    const [plain, name] = inverted(text, encodingFor(encoding));
    return write.call(this, plain, begin, Math.min(length ?? room, room), name);
  },
  fill(value, offset, end, encoding) {
    if (typeof offset === "string") [offset, end, encoding] = [0, this.length, offset];
    else if (typeof end === "string") [end, encoding] = [this.length, end];
    if (offset !== undefined && !(offset >= 0)) throw outOfRange("offset", `>= 0 && <= ${SIZE_MAX}`, offset);
    if (end !== undefined && !(end >= 0 && end <= this.length)) throw outOfRange("end", `>= 0 && <= ${this.length}`, end);
    if (offset >= (end ?? this.length)) return this;
    if (typeof value !== "string") return fill.call(this, value, offset, end);
    const bytes = fromText(value, encodingFor(encoding));
    if (value !== "" && bytes.length === 0) throw coded(TypeError, "ERR_INVALID_ARG_VALUE", `The argument 'value' is invalid. Received '${value}'`);
    return fill.call(this, value === "" ? 0 : bytes, offset, end);
  },
  equals(other) {
    if (!isBytes(other)) throw wrongType("otherBuffer", "an instance of Buffer or Uint8Array", other);
    return this === other || (this.length === other.length && compare.call(Buffer, this, other) === 0);
  },
  indexOf: search(indexOf),
  lastIndexOf: search(lastIndexOf),
  includes: search(includes),
  [CUSTOM_INSPECT]() {
    const shown = Array.from(this.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const left = this.length - SHOWN_BYTES;
    const more = left > 0 ? ` ... ${left} more byte${left > 1 ? "s" : ""}` : "";
    return `<Buffer ${shown}${more}>`;
  },
});
delete prototype.inspect;

export const constants = { MAX_LENGTH: kMaxLength, MAX_STRING_LENGTH: kStringMaxLength };
export { Buffer, kMaxLength, encodingFor, isBytes, known };
