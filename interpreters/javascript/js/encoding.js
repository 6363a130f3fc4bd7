// Text and bytes: TextEncoder, TextDecoder and a Buffer with the encodings that scripts use.
import { define, host } from "./host.js";

const toBytes = (source) => {
  if (source === undefined) return new Uint8Array(0);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  throw new TypeError("The argument must be an ArrayBuffer or a view of one");
};

const LABELS = { "utf-8": "utf-8", utf8: "utf-8", "utf-16le": "utf-16le", "utf-16": "utf-16le", latin1: "windows-1252", "iso-8859-1": "windows-1252", ascii: "windows-1252", "us-ascii": "windows-1252", "windows-1252": "windows-1252" };

function codeUnits(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192));
  return text;
}

function utf16(bytes) {
  let text = "";
  for (let i = 0; i + 1 < bytes.length; i += 2) text += String.fromCharCode(bytes[i] | (bytes[i + 1] << 8));
  return text;
}

class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return host.utf8Encode(String(text).toWellFormed());
  }
  encodeInto(text, target) {
    let read = 0;
    let written = 0;
    for (const character of String(text).toWellFormed()) {
      const bytes = host.utf8Encode(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

class TextDecoder {
  #held = new Uint8Array(0);
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    const encoding = LABELS[String(label).trim().toLowerCase()];
    if (!encoding) throw new RangeError(`The "${label}" encoding is not supported`);
    Object.assign(this, { encoding, fatal, ignoreBOM });
  }
  decode(source, { stream = false } = {}) {
    let bytes = toBytes(source);
    if (this.#held.length) {
      const joined = new Uint8Array(this.#held.length + bytes.length);
      joined.set(this.#held);
      joined.set(bytes, this.#held.length);
      bytes = joined;
    }
    this.#held = new Uint8Array(0);
    if (this.encoding === "windows-1252") return codeUnits(bytes);
    if (this.encoding === "utf-16le") return utf16(bytes);
    if (stream) {
      const cut = host.utf8Boundary(bytes);
      this.#held = bytes.slice(cut);
      bytes = bytes.subarray(0, cut);
    }
    const text = host.utf8Decode(bytes, this.fatal);
    if (text === null) throw new TypeError("The encoded data was not valid for encoding utf-8");
    return !this.ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

function encode(text, encoding = "utf8") {
  switch (String(encoding).toLowerCase()) {
    case "utf8":
    case "utf-8":
      return host.utf8Encode(text.toWellFormed());
    case "hex":
      return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
    case "base64":
    case "base64url": {
      const plain = text.replace(/[^A-Za-z0-9+/_-]/g, "").replaceAll("-", "+").replaceAll("_", "/");
      return Uint8Array.from(atob(plain.length % 4 === 1 ? plain.slice(0, -1) : plain), (c) => c.charCodeAt(0));
    }
    case "latin1":
    case "binary":
    case "ascii":
      return Uint8Array.from(text, (c) => c.charCodeAt(0));
    case "utf16le":
    case "ucs2":
      return new Uint8Array(Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)).buffer);
    default:
      throw new TypeError(`Unknown encoding: ${encoding}`);
  }
}

class Buffer extends Uint8Array {
  static from(source, encoding, length) {
    if (typeof source === "string") source = encode(source, encoding);
    else if (source instanceof ArrayBuffer) return new Buffer(source, encoding, length);
    const buffer = new Buffer(source.length);
    buffer.set(source);
    return buffer;
  }
  static alloc(size, fill) {
    const buffer = new Buffer(size);
    return fill === undefined ? buffer : buffer.fill(typeof fill === "string" ? fill.charCodeAt(0) : fill);
  }
  static allocUnsafe(size) {
    return new Buffer(size);
  }
  static isBuffer(value) {
    return value instanceof Buffer;
  }
  static byteLength(value, encoding) {
    return typeof value === "string" ? encode(value, encoding).length : value.byteLength;
  }
  static concat(list, total = list.reduce((sum, part) => sum + part.length, 0)) {
    const buffer = new Buffer(total);
    let at = 0;
    for (const part of list) {
      buffer.set(part.subarray(0, Math.max(0, total - at)), at);
      at += part.length;
    }
    return buffer;
  }
  toString(encoding = "utf8", start = 0, end = this.length) {
    const bytes = this.subarray(start, end);
    switch (String(encoding).toLowerCase()) {
      case "hex":
        return Array.prototype.map.call(bytes, (byte) => HEX[byte]).join("");
      case "base64":
        return btoa(codeUnits(bytes));
      case "base64url":
        return btoa(codeUnits(bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
      case "latin1":
      case "binary":
      case "ascii":
        return codeUnits(bytes);
      case "utf16le":
      case "ucs2":
        return utf16(bytes);
      default:
        return host.utf8Decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), false);
    }
  }
  equals(other) {
    return this.length === other.length && this.every((byte, i) => byte === other[i]);
  }
  toJSON() {
    return { type: "Buffer", data: Array.from(this) };
  }
  [Symbol.for("nodejs.util.inspect.custom")]() {
    const shown = Array.prototype.map.call(this.subarray(0, 50), (byte) => HEX[byte]).join(" ");
    const more = this.length > 50 ? ` ... ${this.length - 50} more bytes` : "";
    return `<Buffer${shown && " "}${shown}${more}>`;
  }
}

define(globalThis, { TextEncoder, TextDecoder, Buffer });
export { Buffer, encode, toBytes };
