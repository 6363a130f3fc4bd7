// Questions about the script's text that its syntax tree answers. They are rare: a script is only
// parsed here when it has import or export declarations, or when its value is in doubt.
import { parse } from "acorn";

const OPTIONS = { ecmaVersion: "latest", allowAwaitOutsideFunction: true, allowHashBang: true };
const tree = (code, sourceType) => parse(code, { ...OPTIONS, sourceType });

function imported(node) {
  const from = `await import(${node.source.raw})`;
  const star = node.specifiers.find((specifier) => specifier.type === "ImportNamespaceSpecifier");
  const named = node.specifiers
    .filter((specifier) => specifier !== star)
    .map((specifier) => `${specifier.type === "ImportDefaultSpecifier" ? "default" : (specifier.imported.raw ?? specifier.imported.name)}: ${specifier.local.name}`);
  if (star && named.length) return `const ${star.local.name} = ${from}, { ${named.join(", ")} } = ${star.local.name};`;
  if (star) return `const ${star.local.name} = ${from};`;
  return named.length ? `const { ${named.join(", ")} } = ${from};` : `${from};`;
}

function exported(node, code) {
  const inner = node.declaration;
  if (!inner) return node.source ? `await import(${node.source.raw});` : ";";
  const text = code.slice(inner.start, inner.end);
  if (node.type === "ExportNamedDeclaration" || inner.id) return text;
  return `globalThis.result = ${text.replace(/;$/, "")};`;
}

// The module as a script with top-level await: imports first, as a module would have them, and each
// declaration on the lines where it stood. Null if the text is no module either.
export function moduleAsScript(code) {
  let program;
  try {
    program = tree(code, "module");
  } catch {
    return null;
  }
  let text = "";
  let at = 0;
  let changed = false;
  for (const node of program.body) {
    let replacement;
    if (node.type === "ImportDeclaration") replacement = imported(node);
    else if (node.type.startsWith("Export")) replacement = exported(node, code);
    else continue;
    changed = true;
    const lines = code.slice(node.start, node.end).split("\n").length - replacement.split("\n").length;
    text += code.slice(at, node.start) + replacement + "\n".repeat(Math.max(0, lines));
    at = node.end;
  }
  return changed ? text + code.slice(at) : null;
}

export function endsInExpression(code) {
  try {
    const body = tree(code, "script").body.filter((node) => node.type !== "EmptyStatement");
    return body.at(-1)?.type === "ExpressionStatement";
  } catch {
    return true;
  }
}

// The script with what it declares at its top level as variables that a later call of the session
// may declare again, as in a console. Lines and columns stay where they were, but for classes.
export function redeclarable(code) {
  let program;
  try {
    program = tree(code, "script");
  } catch {
    return code;
  }
  let text = "";
  let at = 0;
  for (const node of program.body) {
    if (node.type === "VariableDeclaration" && (node.kind === "let" || node.kind === "const")) {
      text += code.slice(at, node.start) + "var".padEnd(node.kind.length);
      at = node.start + node.kind.length;
    } else if (node.type === "ClassDeclaration") {
      text += `${code.slice(at, node.start)}var ${node.id.name} = ${code.slice(node.start, node.end)};`;
      at = node.end;
    }
  }
  return text + code.slice(at);
}
