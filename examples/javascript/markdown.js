// A task module in JavaScript: renders Markdown to HTML. The input is JSON, {"markdown": "…"}, and
// the output is the page with its outline. Everything from the input is escaped.
import log from "cofferdam:task/log@0.1.0";

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const safe = (url) => (/^(https?:|mailto:|[^:]*$)/i.test(url) ? url : "#");

function inline(text) {
  return escape(text)
    .replace(/`([^`]+)`/g, "<code>$1</code>")
    .replace(/\*\*([^*]+)\*\*/g, "<strong>$1</strong>")
    .replace(/\*([^*]+)\*/g, "<em>$1</em>")
    .replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, (_, label, url) => `<a href="${safe(url)}">${label}</a>`);
}

const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");

function block(text, outline) {
  const heading = /^(#{1,6})\s+(.*)$/.exec(text);
  if (heading) {
    const [, marks, title] = heading;
    outline.push({ level: marks.length, title, id: slug(title) });
    return `<h${marks.length} id="${slug(title)}">${inline(title)}</h${marks.length}>`;
  }
  const lines = text.split("\n");
  if (lines.every((line) => /^[-*]\s/.test(line))) return `<ul>${lines.map((line) => `<li>${inline(line.slice(2))}</li>`).join("")}</ul>`;
  if (lines.every((line) => /^\d+\.\s/.test(line))) return `<ol>${lines.map((line) => `<li>${inline(line.replace(/^\d+\.\s/, ""))}</li>`).join("")}</ol>`;
  if (lines[0].startsWith("```")) return `<pre><code>${escape(lines.slice(1, -1).join("\n"))}</code></pre>`;
  if (lines.every((line) => line.startsWith(">"))) return `<blockquote>${inline(lines.map((line) => line.replace(/^>\s?/, "")).join(" "))}</blockquote>`;
  return `<p>${inline(lines.join(" "))}</p>`;
}

// The runtime of this module has no TextDecoder; these two functions are all that it needs.
const decode = (bytes) => decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
const encode = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));

export const handler = {
  describe() {
    const text = { type: "string" };
    return {
      summary: "Renders Markdown to HTML",
      inputSchema: JSON.stringify({ type: "object", required: ["markdown"], properties: { markdown: text } }),
      outputSchema: JSON.stringify({ type: "object", required: ["html", "outline"], properties: { html: text, outline: { type: "array" } } }),
    };
  },
  run(input) {
    let markdown;
    try {
      ({ markdown } = JSON.parse(decode(input.body)));
    } catch (error) {
      throw { tag: "invalid-input", val: `the input is not JSON: ${error.message}` };
    }
    if (typeof markdown !== "string") throw { tag: "invalid-input", val: "the input has no text `markdown`" };
    const outline = [];
    const blocks = markdown.replaceAll("\r\n", "\n").split(/\n{2,}/).map((text) => text.replace(/^\n+|\n+$/g, "")).filter(Boolean);
    const html = blocks.map((text) => block(text, outline)).join("\n");
    log.emit("info", "rendered", [{ key: "blocks", value: String(blocks.length) }]);
    return { contentType: "application/json", body: encode(JSON.stringify({ html, outline })) };
  },
};
