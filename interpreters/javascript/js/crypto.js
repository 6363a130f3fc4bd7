// node:crypto and the web's crypto, as far as they go without keys: randomness and digests.
import { define, host } from "./host.js";
import { Buffer, isBytes } from "./buffer.js";
import { coded, mustBeFunction, mustBeInteger, unavailable, wrongType } from "./faults.js";
import { timers } from "./timers.js";

const BLOCK_BYTES = { md5: 64, sha1: 64, sha256: 64, sha512: 128 };
const RANDOM_INT_MAX = 2 ** 48 - 1;

function algorithmFor(name) {
  if (typeof name !== "string") throw wrongType("algorithm", "of type string", name);
  const known = name.toLowerCase().replace(/^(?:rsa-)?(md5|sha)-?(\d*)$/, "$1$2");
  if (!Object.hasOwn(BLOCK_BYTES, known)) throw coded(Error, "ERR_OSSL_EVP_UNSUPPORTED", `Digest method not supported: ${name}; supported are ${Object.keys(BLOCK_BYTES).join(", ")}`);
  return known;
}

function bytesFor(data, encoding, name = "data") {
  if (typeof data === "string") return Buffer.from(data, encoding);
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  throw wrongType(name, "of type string or an instance of Buffer, TypedArray, or DataView", data);
}

const digested = (algorithm, bytes) => Buffer.from(host.hash(algorithm, new Uint8Array(bytes)).buffer);

class Hash {
  #parts = [];
  #algorithm;
  #done = false;
  constructor(algorithm) {
    this.#algorithm = algorithmFor(algorithm);
  }
  update(data, encoding) {
    if (this.#done) throw coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
    this.#parts.push(Buffer.from(bytesFor(data, encoding)));
    return this;
  }
  copy() {
    const copy = new Hash(this.#algorithm);
    copy.#parts = [...this.#parts];
    return copy;
  }
  digest(encoding) {
    if (this.#done) throw coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
    this.#done = true;
    const digest = digested(this.#algorithm, Buffer.concat(this.#parts));
    return encoding && encoding !== "buffer" ? digest.toString(encoding) : digest;
  }
}

class Hmac {
  #inner;
  #algorithm;
  #outerKey;
  constructor(algorithm, key) {
    this.#algorithm = algorithmFor(algorithm);
    const block = BLOCK_BYTES[this.#algorithm];
    let bytes = bytesFor(key, undefined, "key");
    if (bytes.length > block) bytes = digested(this.#algorithm, bytes);
    const padded = Buffer.concat([bytes, Buffer.alloc(block - bytes.length)]);
    this.#outerKey = padded.map((byte) => byte ^ 0x5c);
    this.#inner = new Hash(this.#algorithm).update(padded.map((byte) => byte ^ 0x36));
  }
  update(data, encoding) {
    this.#inner.update(data, encoding);
    return this;
  }
  digest(encoding) {
    return new Hash(this.#algorithm).update(this.#outerKey).update(this.#inner.digest()).digest(encoding);
  }
}

function getRandomValues(array) {
  if (!ArrayBuffer.isView(array)) throw wrongType("array", "an instance of an integer TypedArray", array);
  if (array.byteLength > 65536) throw new RangeError("The requested length exceeds 65,536 bytes");
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(host.random(array.byteLength));
  return array;
}

function randomUUID() {
  const bytes = host.random(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return Buffer.from(bytes.buffer).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const later = (callback, value) => void timers.setImmediate(() => callback(null, value));

function randomBytes(size, callback) {
  const bytes = Buffer.from(host.random(mustBeInteger(size, "size", 0, 2 ** 31 - 1)).buffer);
  return callback === undefined ? bytes : later(mustBeFunction(callback), bytes);
}

function randomInt(low, high, callback) {
  if (high === undefined || typeof high === "function") [low, high, callback] = [0, low, high];
  mustBeInteger(low, "min");
  mustBeInteger(high, "max");
  if (high <= low || high - low > RANDOM_INT_MAX) throw coded(RangeError, "ERR_OUT_OF_RANGE", `The value of "max" is out of range. It must be greater than the value of "min" (${low}). Received ${high}`);
  const span = high - low;
  const limit = 2 ** 48 - (2 ** 48 % span);
  for (;;) {
    const bytes = Buffer.from(host.random(6).buffer);
    const number = bytes.readUIntBE(0, 6);
    if (number >= limit) continue;
    return callback === undefined ? low + (number % span) : later(mustBeFunction(callback), low + (number % span));
  }
}

function randomFillSync(buffer, offset = 0, size = buffer.byteLength - offset) {
  new Uint8Array(buffer.buffer, buffer.byteOffset + offset, size).set(host.random(size));
  return buffer;
}

function timingSafeEqual(one, other) {
  if (!isBytes(one)) throw wrongType("buf1", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", one);
  if (!isBytes(other)) throw wrongType("buf2", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", other);
  if (one.length !== other.length) throw coded(RangeError, "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", "Input buffers must have the same byte length");
  return Buffer.from(one).equals(other);
}

const subtle = {
  async digest(algorithm, data) {
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : bytesFor(data);
    return new Uint8Array(digested(algorithmFor(algorithm?.name ?? algorithm), bytes)).buffer;
  },
};
const KEYED = "the interpreter has digests and randomness, and no ciphers and no keys";
for (const name of ["encrypt", "decrypt", "sign", "verify", "generateKey", "deriveKey", "deriveBits", "importKey", "exportKey", "wrapKey", "unwrapKey"]) {
  subtle[name] = async () => {
    throw unavailable(`crypto.subtle.${name}`, KEYED);
  };
}

const webcrypto = { getRandomValues, randomUUID, subtle };
export const crypto = {
  ...webcrypto,
  webcrypto,
  randomBytes,
  randomInt,
  randomFillSync,
  timingSafeEqual,
  createHash: (algorithm) => new Hash(algorithm),
  createHmac: (algorithm, key) => new Hmac(algorithm, key),
  getHashes: () => Object.keys(BLOCK_BYTES),
  hash: (algorithm, data, encoding = "hex") => new Hash(algorithm).update(data).digest(encoding),
  Hash,
  Hmac,
};
for (const name of ["createCipheriv", "createDecipheriv", "createSign", "createVerify", "createECDH", "createDiffieHellman", "generateKeyPair", "generateKeyPairSync", "generateKeySync", "publicEncrypt", "privateDecrypt", "pbkdf2", "pbkdf2Sync", "scrypt", "scryptSync", "hkdf", "hkdfSync", "sign", "verify"]) {
  crypto[name] = () => {
    throw unavailable(`crypto.${name}`, KEYED);
  };
}

define(globalThis, { crypto: webcrypto });
