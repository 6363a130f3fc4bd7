// The positions of a rewritten script's parts in the user's text.

const texts = new Map();

const lineStarts = (code) => {
  const starts = [0];
  for (let at = code.indexOf("\n"); at >= 0; at = code.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
};

class Rewritten {
  constructor(original, edits) {
    let code = "";
    let at = 0;
    this.original = original;
    this.pieces = [];
    for (const { start, end, text } of edits) {
      code += original.slice(at, start);
      this.pieces.push({ from: code.length, to: code.length + text.length, start, end });
      code += text;
      at = end;
    }
    this.code = code + original.slice(at);
  }
  keep(file) {
    texts.set(file, this);
  }
  // The place in the original of a line and a column of the rewritten text, both from 1.
  place(line, column) {
    this.starts ??= lineStarts(this.code);
    this.originalStarts ??= lineStarts(this.original);
    const offset = (this.starts[line - 1] ?? this.code.length) + column - 1;
    let shift = 0;
    for (const { from, to, start, end } of this.pieces) {
      if (offset < from) break;
      if (offset < to) return this.#lineOf(start);
      shift = end - to;
    }
    return this.#lineOf(offset + shift);
  }
  #lineOf(offset) {
    const within = Math.min(offset, this.original.length);
    const line = this.originalStarts.findLastIndex((start) => start <= within);
    return [line + 1, within - this.originalStarts[line] + 1];
  }
}

export const rewritten = (original, edits) => new Rewritten(original, edits);

// A position in the user's text.
export const ownPlace = (file, line, column) => texts.get(file)?.place(line, column) ?? [line, column];

export const forgetPlaces = (file) => void texts.delete(file);
