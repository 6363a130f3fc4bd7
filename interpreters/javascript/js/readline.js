// node:readline over any stream of text, without a terminal: nothing is edited or echoed.
import { StringDecoder } from "string_decoder/";
import { EventEmitter } from "./events.js";
import { define } from "./host.js";
import { coded, mustBeFunction, wrongType } from "./faults.js";
import { nextTick } from "./ticks.js";

const LINE_END = /\r?\n|\r(?!\n)|\u2028|\u2029/g;

class Interface extends EventEmitter {
  #rest = "";
  #decoder = new StringDecoder("utf8");
  #afterReturn = false;
  #asked = null;
  #kept = [];
  #prompt = "> ";
  constructor(input, output, completer, terminal) {
    super();
    if (typeof input?.on !== "function") {
      const options = input ?? {};
      ({ input, output, terminal } = options);
      if (options.prompt !== undefined) this.#prompt = `${options.prompt}`;
      options.signal?.addEventListener("abort", () => this.close(), { once: true });
    }
    if (typeof input?.on !== "function") throw wrongType("input", "an instance of Stream", input);
    Object.assign(this, { input, output, terminal: Boolean(terminal), line: "", cursor: 0, history: [], closed: false });
    define(this, { told: (chunk) => this.#take(chunk), ended: () => this.#end() });
    input.on("data", this.told);
    input.on("end", this.ended);
    input.resume?.();
  }
  #take(chunk) {
    let text = typeof chunk === "string" ? chunk : this.#decoder.write(chunk);
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(LINE_END);
    this.#rest = lines.pop();
    for (const line of lines) this.#tell(line);
  }
  // A line without a question or listener is kept for the next question.
  #tell(line) {
    const asked = this.#asked;
    this.#asked = null;
    if (asked) asked(line);
    else if (!this.emit("line", line)) this.#kept.push(line);
  }
  #end() {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = "";
    if (rest !== "") this.#tell(rest);
    this.close();
  }
  close() {
    if (this.closed) return;
    this.closed = true;
    this.input.off("data", this.told);
    this.input.off("end", this.ended);
    this.input.pause?.();
    this.emit("close");
  }
  pause() {
    this.input.pause?.();
    this.emit("pause");
    return this;
  }
  resume() {
    this.input.resume?.();
    this.emit("resume");
    return this;
  }
  ask(query, told) {
    const kept = this.#kept.length > 0;
    if (this.closed && !kept) throw coded(Error, "ERR_USE_AFTER_CLOSE", "readline was closed");
    this.output?.write(`${query}`);
    if (kept) nextTick(told, this.#kept.shift());
    else this.#asked = told;
  }
  question(query, options, callback) {
    this.ask(query, mustBeFunction(typeof options === "function" ? options : callback, "cb"));
  }
  setPrompt(prompt) {
    this.#prompt = `${prompt}`;
  }
  getPrompt() {
    return this.#prompt;
  }
  prompt() {
    this.output?.write(this.#prompt);
  }
  write(data) {
    if (this.closed) throw coded(Error, "ERR_USE_AFTER_CLOSE", "readline was closed");
    if (data !== null && data !== undefined) this.#take(`${data}`);
  }
  getCursorPos() {
    return { rows: 0, cols: 0 };
  }
  [Symbol.asyncIterator]() {
    return lines(this);
  }
}
define(Interface.prototype, { ask: Interface.prototype.ask });
define(Interface.prototype.question, {
  [Symbol.for("nodejs.util.promisify.custom")](query, options) {
    return new Promise((resolve) => this.question(query, options ?? resolve, resolve));
  },
});

class PromiseInterface extends Interface {
  question(query, { signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.ask(query, resolve);
    });
  }
}

// The lines of an interface, or of a stream, as they arrive.
export async function* lines(source) {
  const from = source instanceof Interface ? source : new Interface({ input: source });
  const arrived = [];
  let wake = () => {};
  let failure = null;
  from.on("line", (line) => (arrived.push(line), wake()));
  from.on("close", () => wake());
  from.input.on("error", (error) => ((failure = error), wake()));
  try {
    for (;;) {
      if (arrived.length) yield arrived.shift();
      else if (failure) throw failure;
      else if (from.closed) return;
      else await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    from.close();
  }
}

// Cursor functions do nothing without a terminal, as on a stream in Node.
function moved(...args) {
  const callback = args.find((argument) => typeof argument === "function");
  callback?.();
  return true;
}
const cursor = { clearLine: moved, clearScreenDown: moved, cursorTo: moved, moveCursor: moved, emitKeypressEvents() {} };

export const readlinePromises = { Interface: PromiseInterface, createInterface: (...args) => new PromiseInterface(...args) };
export const readline = { Interface, createInterface: (...args) => new Interface(...args), promises: readlinePromises, ...cursor };
