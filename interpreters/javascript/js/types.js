// TypeScript: how it is recognised, and the errors for invalid text.

const MARKS = [
  /\b(?:interface|enum|namespace|declare|abstract)\s+[A-Za-z_$]/,
  /\btype\s+[A-Za-z_$][\w$]*\s*(?:<[^=]*>)?\s*=/,
  /[\w$)\]}?]\s*:\s*(?:readonly\s+)?[A-Za-z_$({[][\w$.<>[\]{}|&'", ]*\s*(?:[=,;){]|=>|\n|$)/,
  /\bas\s+(?:const|[A-Za-z_$][\w$.]*)/,
  /\b(?:import|export)\s+type\b/,
  /[\w$]\s*<[A-Za-z_$][\w$.,[\] |]*>\s*\(/,
  /\b(?:private|public|protected|readonly)\s+[A-Za-z_$#]/,
  /\bsatisfies\b|[\w$)\]]!\s*[.;,)\]]/,
];

export const hasTypes = (code) => MARKS.some((mark) => mark.test(code));

// The code without its types; a syntax error names its position.
export function withoutTypes(strip, code, file) {
  try {
    return { code: strip(code) };
  } catch (thrown) {
    const [, message, line, column] = /^(?:Error transforming[^:]*: )?(.*?)\s*\((\d+):(\d+)\)$/s.exec(String(thrown?.message)) ?? [];
    if (line === undefined) throw thrown;
    const error = new SyntaxError(message);
    error.stack = `SyntaxError: ${message}\n    at ${file}:${line}:${column}`;
    return { error };
  }
}
