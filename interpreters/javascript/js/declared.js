// Reads a script's declarations, its first comment and its constants, without running the script.
import { tree } from "./source.js";

const DECLARATIONS = ["INPUT_SCHEMA", "OUTPUT_SCHEMA"];

// The value of an expression that is a literal throughout, without running it.
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
  throw new TypeError(`${name} must be a literal without anything to compute (line ${node.loc.start.line})`);
}

// The text of a comment without the stars at its edge.
const prose = (comment) => comment.split("\n").map((line) => line.replace(/^\s*\*? ?/, "").trimEnd()).join("\n").trim();

// A script's declarations as JSON: its first /** comment */ and its constants. Null if the text
// cannot be parsed.
export function declared(code) {
  const comments = [];
  let program;
  try {
    program = tree(code, "module", { locations: true, onComment: comments });
  } catch {
    try {
      comments.length = 0;
      program = tree(code, "script", { locations: true, onComment: comments });
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
