// The text of errors: stacks in V8's form with the user's frames only, and the report of an
// uncaught error with the source line it came from.
import { inspect } from "node-inspect-extracted";
import { ownPlace } from "./places.js";

const OURS = "cofferdam:";
const MESSAGE_LIMIT = 16 * 1024;
const TRACEBACK_LIMIT = 64 * 1024;
const EXCERPT_LIMIT = 400;

function header(error) {
  const name = error?.name ?? "Error";
  const message = error?.message ?? "";
  return message === "" ? `${name}` : `${name}: ${message}`;
}

Error.stackTraceLimit = 20;
Error.prepareStackTrace = (error, frames) => {
  let text = header(error);
  for (const frame of frames) {
    const file = frame.getFileName();
    if (frame.isNative() || !file || file.startsWith(OURS)) continue;
    const place = [file, ...ownPlace(file, frame.getLineNumber(), frame.getColumnNumber())].join(":");
    const name = frame.getFunctionName();
    text += name && name !== "<eval>" && name !== "<anonymous>" ? `\n    at ${name} (${place})` : `\n    at ${place}`;
  }
  return text;
};

const clip = (text, limit) => (text.length > limit ? `${text.slice(0, limit)}… (truncated)` : text);

function excerpt(stack, code, file) {
  const place = /(main(?:-\d+)?\.[jt]s):(\d+):(\d+)/.exec(stack);
  // An error from a function of an earlier call is shown without its source.
  if (place?.[1] !== file) return "";
  const line = code.split("\n")[place[2] - 1];
  if (line === undefined || line.length > EXCERPT_LIMIT) return "";
  return `${file}:${place[2]}\n${line.trimEnd()}\n${" ".repeat(Math.max(0, place[3] - 1))}^\n\n`;
}

// The parts of the error that the answer carries.
export function report(thrown, code, file) {
  if (!(thrown instanceof Error)) {
    const shown = clip(inspect(thrown), MESSAGE_LIMIT);
    return { type: thrown === null ? "null" : typeof thrown, message: shown, traceback: `Uncaught ${shown}\n` };
  }
  let stack = typeof thrown.stack === "string" ? thrown.stack : "";
  if (!stack.startsWith(header(thrown)) && !stack.startsWith(thrown.name)) stack = `${header(thrown)}\n${stack}`;
  let shown = stack.trimEnd();
  try {
    shown = inspect(thrown);
  } catch {
    // An error whose own properties throw is shown by its stack alone.
  }
  return {
    type: String(thrown.name ?? "Error"),
    message: clip(String(thrown.message ?? ""), MESSAGE_LIMIT),
    traceback: clip(`${excerpt(stack, code, file)}${shown}\n`, TRACEBACK_LIMIT),
  };
}
