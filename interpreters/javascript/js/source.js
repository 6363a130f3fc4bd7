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

const DECLARATIONS = ["INPUT_SCHEMA", "OUTPUT_SCHEMA"];

// The value of an expression that is written out whole, as JSON is; nothing of it is run.
function literal(node, name) {
  const inner = (child) => literal(child, name);
  switch (node.type) {
    case "Literal":
      if (!node.regex && !node.bigint) return node.value;
      break;
    case "TemplateLiteral":
      if (node.expressions.length === 0) return node.quasis[0].value.cooked;
      break;
    case "UnaryExpression":
      if (node.operator === "-" && typeof node.argument.value === "number") return -node.argument.value;
      break;
    case "ArrayExpression":
      if (!node.elements.includes(null)) return node.elements.map(inner);
      break;
    case "ObjectExpression":
      if (node.properties.every((property) => property.kind === "init" && !property.computed)) {
        const value = Object.create(null);
        for (const { key, value: child } of node.properties) value[key.name ?? key.value] = inner(child);
        return value;
      }
      break;
  }
  throw new TypeError(`${name} must be written out as JSON is, without anything to be computed (line ${node.loc.start.line})`);
}

// The text of a comment without the stars at its edge.
const prose = (comment) => comment.split("\n").map((line) => line.replace(/^\s*\*? ?/, "").trimEnd()).join("\n").trim();

// What a script says of itself, as JSON: in the /** comment */ it begins with and in its constants.
// Null if the text cannot be parsed.
export function declared(code) {
  const comments = [];
  let program;
  try {
    program = parse(code, { ...OPTIONS, sourceType: "module", locations: true, onComment: comments });
  } catch {
    try {
      comments.length = 0;
      program = parse(code, { ...OPTIONS, sourceType: "script", locations: true, onComment: comments });
    } catch {
      return null;
    }
  }
  const said = {};
  const first = comments.find((comment) => !(comment.start === 0 && code.startsWith("#!")));
  if (first?.type === "Block" && first.value.startsWith("*") && first.end <= (program.body[0]?.start ?? code.length)) said.summary = prose(first.value.slice(1));
  for (const node of program.body) {
    const declaration = node.type === "ExportNamedDeclaration" ? node.declaration : node;
    if (declaration?.type !== "VariableDeclaration") continue;
    for (const { id, init } of declaration.declarations) {
      if (init && DECLARATIONS.includes(id.name)) said[id.name.toLowerCase()] = literal(init, id.name);
    }
  }
  return JSON.stringify(said);
}
