// TextEncoder and TextDecoder.
import { define, host } from "./host.js";
import { Buffer } from "./buffer.js";
import { coded, wrongType } from "./faults.js";

const LABELS = new Map();
for (const [encoding, labels] of [
  ["utf-8", "utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8"],
  ["utf-16le", "utf-16le utf-16 ucs-2 unicode csunicode iso-10646-ucs-2 unicodefeff"],
  ["utf-16be", "utf-16be unicodefffe"],
  ["windows-1252", "windows-1252 latin1 iso-8859-1 iso8859-1 iso88591 iso_8859-1 l1 ascii us-ascii ansi_x3.4-1968 cp1252 cp819 ibm819 x-cp1252"],
]) for (const label of labels.split(" ")) LABELS.set(label, encoding);

// The characters of windows-1252 in the places of ISO 8859-1's control characters.
const WINDOWS = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

const Shared = globalThis.SharedArrayBuffer ?? class {};

function toBytes(source) {
  if (source === undefined) return new Uint8Array(0);
  if (source instanceof ArrayBuffer || source instanceof Shared) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  throw wrongType("list", "an instance of SharedArrayBuffer, ArrayBuffer or ArrayBufferView", source);
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
  #begun = false;
  #encoding;
  #fatal;
  #ignoreBOM;
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    this.#encoding = LABELS.get(String(label).trim().toLowerCase());
    if (!this.#encoding) throw coded(RangeError, "ERR_ENCODING_NOT_SUPPORTED", `The "${label}" encoding is not supported`);
    this.#fatal = Boolean(fatal);
    this.#ignoreBOM = Boolean(ignoreBOM);
  }
  get encoding() {
    return this.#encoding;
  }
  get fatal() {
    return this.#fatal;
  }
  get ignoreBOM() {
    return this.#ignoreBOM;
  }
  decode(source, { stream = false } = {}) {
    let bytes = toBytes(source);
    if (this.#held.length) bytes = Buffer.concat([this.#held, bytes]);
    this.#held = new Uint8Array(0);
    if (stream) {
      const cut = this.#whole(bytes);
      this.#held = bytes.slice(cut);
      bytes = bytes.subarray(0, cut);
    }
    const text = this.#text(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
    const first = !this.#begun;
    this.#begun = stream && (this.#begun || text !== "");
    return first && !this.#ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
  // The number of bytes that form whole characters.
  #whole(bytes) {
    if (this.#encoding === "utf-8") return host.utf8Boundary(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
    if (this.#encoding === "windows-1252") return bytes.length;
    const even = bytes.length & ~1;
    const last = even && bytes[this.#encoding === "utf-16le" ? even - 1 : even - 2];
    return last >= 0xd8 && last <= 0xdb ? even - 2 : even;
  }
  #text(bytes) {
    const bad = () => coded(TypeError, "ERR_ENCODING_INVALID_ENCODED_DATA", `The encoded data was not valid for encoding ${this.#encoding}`);
    if (this.#encoding === "utf-8") {
      const text = host.utf8Decode(bytes, this.#fatal);
      if (text === undefined) throw bad();
      return text;
    }
    const buffer = Buffer.from(bytes);
    if (this.#encoding === "windows-1252") return buffer.toString("latin1").replace(/[\x80-\x9f]/g, (character) => WINDOWS[character.charCodeAt(0) - 0x80]);
    const whole = buffer.length & ~1;
    if (this.#encoding === "utf-16be") buffer.subarray(0, whole).swap16();
    const text = buffer.toString("utf16le", 0, whole) + (whole < buffer.length ? "\ufffd" : "");
    if (this.#fatal && (whole < buffer.length || !text.isWellFormed())) throw bad();
    return text.toWellFormed();
  }
}

define(globalThis, { TextEncoder, TextDecoder, Buffer });
export { toBytes };
