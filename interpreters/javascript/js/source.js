// The script's text for the engine. A script with import or export declarations, or one in a
// session, is rewritten; `places` then maps each part to its original position, so that errors name
// the user's lines and columns.
import { parse } from "acorn";
import { rewritten } from "./places.js";

const OPTIONS = { ecmaVersion: "latest", allowAwaitOutsideFunction: true, allowHashBang: true };
export const tree = (code, sourceType, more) => parse(code, { ...OPTIONS, sourceType, ...more });

// The syntax tree of a script, or else of a module; null if the text is neither.
function parsed(code) {
  for (const sourceType of ["script", "module"]) {
    try {
      return { program: tree(code, sourceType), strict: sourceType === "module" };
    } catch {
      // The engine's error is the one to show.
    }
  }
  return null;
}

export function* nodesBelow(node) {
  yield node;
  for (const child of Object.values(node)) {
    if (Array.isArray(child)) {
      for (const one of child) if (one && typeof one.type === "string") yield* nodesBelow(one);
    } else if (child && typeof child.type === "string") yield* nodesBelow(child);
  }
}

// The names that a pattern binds or assigns to.
export function* namesIn(pattern) {
  switch (pattern?.type) {
    case "Identifier":
      yield pattern.name;
      break;
    case "ObjectPattern":
      for (const property of pattern.properties) yield* namesIn(property.value ?? property);
      break;
    case "ArrayPattern":
      for (const element of pattern.elements) yield* namesIn(element);
      break;
    case "AssignmentPattern":
      yield* namesIn(pattern.left);
      break;
    case "RestElement":
      yield* namesIn(pattern.argument);
      break;
  }
}

// The names that the prelude adds to a rewritten script.
const META = "$importMeta";
const EXPORTED = "$exported=";
const AT = "$at";

// An import error names the position of the import.
function imported(node, keyword, [line, column]) {
  const from = `await import(${node.source.raw}).catch(${AT}(${line},${column}))`;
  const star = node.specifiers.find((specifier) => specifier.type === "ImportNamespaceSpecifier");
  const named = node.specifiers
    .filter((specifier) => specifier !== star)
    .map((specifier) => `${specifier.type === "ImportDefaultSpecifier" ? "default" : (specifier.imported.raw ?? specifier.imported.name)}: ${specifier.local.name}`);
  if (star && named.length) return `${keyword} ${star.local.name} = ${from}, { ${named.join(", ")} } = ${star.local.name};`;
  if (star) return `${keyword} ${star.local.name} = ${from};`;
  return named.length ? `${keyword} { ${named.join(", ")} } = ${from};` : `${from};`;
}

// `export { main as run, it as default }`
function renamed(node) {
  const told = node.specifiers.filter(({ local, exported }) => local.name && (exported.name === "default" || (exported.name === "run" && local.name !== "run")));
  return told.map(({ local, exported }) => (exported.name === "default" ? `${EXPORTED}${local.name};` : `module.exports.run=${local.name};`));
}

class Rewriting {
  edits = [];
  // Statements to add at the end, where everything is initialised.
  last = [];
  // The names and kinds that a session needs before the script begins.
  declared = [];
  constructor(code, session) {
    Object.assign(this, { code, session });
  }
  replace(start, end, text) {
    // Each line of the script stays on its line.
    const lines = this.code.slice(start, end).split("\n").length - text.split("\n").length;
    this.edits.push({ start, end, text: text + "\n".repeat(Math.max(0, lines)) });
  }
  place({ start }) {
    const before = this.code.slice(0, start).split("\n");
    return [before.length, before.at(-1).length + 1];
  }
  blank(start, end) {
    this.replace(start, end, this.code.slice(start, end).replace(/[^\n]/g, " "));
  }
  declaration(node) {
    if (!this.session) return;
    if (node.type === "FunctionDeclaration") this.declared.push([node.id.name, "function"]);
    else if (node.type === "ClassDeclaration") {
      this.declared.push([node.id.name, "class"]);
      this.replace(node.start, node.start, `var ${node.id.name} = `);
      this.replace(node.end, node.end, ";");
    } else if (node.type === "VariableDeclaration") {
      for (const { id } of node.declarations) for (const name of namesIn(id)) this.declared.push([name, node.kind]);
      if (node.kind !== "let" && node.kind !== "const") return;
      this.replace(node.start, node.start + node.kind.length, "var".padEnd(node.kind.length));
      for (const { id, init, end } of node.declarations) if (!init && id.type === "Identifier") this.replace(end, end, "=void 0");
    }
  }
  exported(node) {
    const inner = node.declaration;
    if (!inner) {
      if (!node.source) this.last.push(...renamed(node));
      return this.replace(node.start, node.end, node.source ? `await import(${node.source.raw});` : ";");
    }
    if (node.type === "ExportNamedDeclaration") {
      this.blank(node.start, inner.start);
      return this.declaration(inner);
    }
    const declares = inner.id && (inner.type === "FunctionDeclaration" || inner.type === "ClassDeclaration");
    if (!declares) {
      this.replace(node.start, inner.start, EXPORTED.padEnd(inner.start - node.start));
      return this.replace(node.end, node.end, ";");
    }
    this.blank(node.start, inner.start);
    this.declaration(inner);
    this.replace(node.end, node.end, `;${EXPORTED}${inner.id.name};`);
  }
  statement(node) {
    if (node.type === "ImportDeclaration") {
      this.replace(node.start, node.end, imported(node, this.session ? "var" : "const", this.place(node)));
      if (this.session) for (const { local } of node.specifiers) this.declared.push([local.name, "let"]);
    } else if (node.type.startsWith("Export")) this.exported(node);
    else this.declaration(node);
  }
  text() {
    if (this.last.length) this.edits.push({ start: this.code.length, end: this.code.length, text: `\n;${this.last.join("")}` });
    return rewritten(this.code, this.edits.sort((a, b) => a.start - b.start || a.end - b.end));
  }
}

// The text to evaluate with its metadata; null if it cannot be parsed here or needs no change.
export function rewrite(code, file, session) {
  const found = parsed(code);
  if (!found) return withReturn(code, file);
  const rewriting = new Rewriting(code, session);
  for (const node of found.program.body) rewriting.statement(node);
  if (session) {
    for (const node of nodesBelow(found.program)) {
      // Nested functions and variables that become globals.
      if (node.type === "VariableDeclaration" && node.kind === "var") for (const { id } of node.declarations) for (const name of namesIn(id)) if (!rewriting.declared.some(([other]) => other === name)) rewriting.declared.push([name, "nested"]);
    }
  }
  if (/import\s*\.\s*meta/.test(code)) {
    for (const node of nodesBelow(found.program)) if (node.type === "MetaProperty" && node.meta.name === "import") rewriting.replace(node.start, node.end, META);
  }
  if (rewriting.edits.length === 0 && !session) return null;
  const text = rewriting.text();
  text.keep(file);
  return { text: text.code, strict: found.strict, declared: rewriting.declared, program: found.program };
}

// A script that uses `return` at the top level, as the body of a function.
function withReturn(code, file) {
  if (!/\breturn\b/.test(code)) return null;
  for (const sourceType of ["script", "module"]) {
    let program;
    try {
      program = tree(code, sourceType, { allowReturnOutsideFunction: true });
    } catch {
      continue;
    }
    return asBody(code, file, sourceType === "module" ? program.body : []);
  }
  return null;
}

// This also applies to invalid text: the error about the body names the right position.
export function asBody(code, file, statements = []) {
  const rewriting = new Rewriting(code, false);
  const begin = code.startsWith("#!") ? code.indexOf("\n") + 1 || code.length : 0;
  rewriting.replace(begin, begin, "(async()=>{");
  for (const node of statements) rewriting.statement(node);
  rewriting.replace(code.length, code.length, "\n})()");
  const text = rewriting.text();
  text.keep(file);
  return { text: text.code, strict: statements.length > 0, declared: [] };
}

export function endsInExpression(code) {
  const body = parsed(code)?.program.body.filter((node) => node.type !== "EmptyStatement");
  return !body || body.at(-1)?.type === "ExpressionStatement";
}

// Code in a Markdown block, as models write it: the lines of the fence become empty.
export const withoutFence = (code) => code.replace(/^(\s*)```[^\n`]*(\r?\n[\s\S]*?)\n?[ \t]*```\s*$/, (whole, before, body) => `${before}${body}`);

// Compares the positions of two errors about the same text: the parser that got further understood
// the kind of text.
export function further(one, other) {
  const place = (error) => /:(\d+):(\d+)\)?\s*$/m.exec(error?.stack ?? "")?.slice(1).map(Number) ?? [0, 0];
  const [[lineA, columnA], [lineB, columnB]] = [place(one), place(other)];
  return lineB > lineA || (lineB === lineA && columnB > columnA) ? other : one;
}
