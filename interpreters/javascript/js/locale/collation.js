// Dictionary order of texts: letters first, then accents, then case, and not the order of code
// points. It is right for the languages of western Europe that sort as English does.
import { choice, pick } from "./tags.js";

const WHAT = "Collator";
const SIGNS = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
const EXPANSIONS = { ß: "s\u0334s", æ: "a\u0334e", œ: "o\u0334e", Æ: "A\u0334E", Œ: "O\u0334E", ø: "o\u0338", Ø: "O\u0338", ł: "l\u0335", Ł: "L\u0335", đ: "d\u0335", Đ: "D\u0335" };
const SPACES = 0;
const SIGN = 1e3;
const DIGIT = 2e3;
const LETTER = 1e7;

function weight(character) {
  if (/\s/.test(character)) return SPACES + Math.min(character.codePointAt(0), 900);
  const sign = SIGNS.indexOf(character);
  if (sign >= 0) return SIGN + sign;
  if (/\p{Nd}/u.test(character)) return DIGIT + (character.codePointAt(0) % 0x10);
  if (/[\p{P}\p{S}]/u.test(character)) return SIGN + 100 + character.codePointAt(0) / 1e7;
  return LETTER + character.toLowerCase().codePointAt(0);
}

// The sort keys of characters: first the letter, then its accents, then its case.
function elements(text, { numeric, ignorePunctuation }) {
  const found = [];
  const decomposed = text.normalize("NFD").replace(/[ßæœÆŒøØłŁđĐ]/g, (character) => EXPANSIONS[character]);
  for (const [part] of decomposed.matchAll(numeric ? /\d+|\P{M}\p{M}*|\p{M}+/gu : /\P{M}\p{M}*|\p{M}+/gu)) {
    if (numeric && /^\d/.test(part)) {
      const digits = part.replace(/^0+(?=\d)/, "");
      found.push({ base: DIGIT + digits.length, number: digits, accent: "", upper: false });
      continue;
    }
    const [character] = part;
    const whole = String.fromCodePoint(part.codePointAt(0));
    if (/\p{Cc}/u.test(character) && !/\s/.test(character)) continue;
    const base = weight(whole);
    if (ignorePunctuation && base < DIGIT) continue;
    found.push({ base, accent: part.slice(whole.length), upper: whole !== whole.toLowerCase() });
  }
  return found;
}

function firstDifference(a, b, differ) {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (i >= a.length) return -1;
    if (i >= b.length) return 1;
    const order = differ(a[i], b[i]);
    if (order !== 0) return order;
  }
  return 0;
}
const sign = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const byBase = (a, b) => sign(a.base, b.base) || (a.number !== undefined && b.number !== undefined ? sign(a.number, b.number) : 0);
const byAccent = (a, b) => sign(a.accent, b.accent);

export function collate(a, b, options) {
  if (a === b) return 0;
  const [one, other] = [elements(a, options), elements(b, options)];
  const { sensitivity, caseFirst } = options;
  const byCase = (x, y) => (caseFirst === "upper" ? Number(y.upper) - Number(x.upper) : Number(x.upper) - Number(y.upper));
  const primary = firstDifference(one, other, byBase);
  if (primary !== 0 || sensitivity === "base") return primary;
  const accents = sensitivity === "case" ? 0 : firstDifference(one, other, byAccent);
  if (accents !== 0 || sensitivity === "accent") return accents;
  return firstDifference(one, other, byCase);
}

export function collation(locales, given) {
  const options = given === undefined ? {} : Object(given);
  const locale = pick(locales, WHAT, ["en", "de", "fr", "it"]);
  choice(options, "localeMatcher", ["lookup", "best fit"], [], "best fit", WHAT);
  choice(options, "collation", ["default", "standard"], ["phonebk", "emoji", "search", "eor"], "default", WHAT);
  return {
    locale,
    usage: choice(options, "usage", ["sort", "search"], [], "sort", WHAT),
    sensitivity: choice(options, "sensitivity", ["base", "accent", "case", "variant"], [], "variant", WHAT),
    ignorePunctuation: Boolean(options.ignorePunctuation),
    collation: "default",
    numeric: Boolean(options.numeric),
    caseFirst: choice(options, "caseFirst", ["upper", "lower", "false"], [], "false", WHAT),
  };
}

export class Collator {
  #options;
  constructor(locales, options) {
    this.#options = collation(locales, options);
  }
  get compare() {
    return (a, b) => collate(String(a), String(b), this.#options);
  }
  resolvedOptions() {
    return { ...this.#options };
  }
}
