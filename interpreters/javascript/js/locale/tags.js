// The supported locales: the interpreter has tables for these few languages only. Any other is
// refused, because an answer in the wrong form would look right.
import { wrongType } from "../faults.js";

const NBSP = "\u00a0";
const NARROW = "\u202f";

// Grouping and decimal signs, the places of the percent sign and the currency, and where grouping
// begins.
const NUMBERS = {
  en: { group: ",", decimal: "." },
  de: { group: ".", decimal: ",", behind: NBSP },
  es: { group: ".", decimal: ",", behind: NBSP, leastGroups: 2 },
  fr: { group: NARROW, decimal: ",", behind: NBSP },
  it: { group: ".", decimal: ",", behind: "", currencyBehind: NBSP, leastGroups: 2 },
  ja: { group: ",", decimal: "." },
  zh: { group: ",", decimal: "." },
};
const REGIONS = { en: ["US", "GB", "CA", "AU", "NZ", "IE"], de: ["DE"], es: ["ES"], fr: ["FR"], it: ["IT"], ja: ["JP"], zh: ["CN"] };

const regular = (tag) => tag.replace(/^[a-z]+/i, (part) => part.toLowerCase()).replace(/-([a-z]{2})$/i, (part) => part.toUpperCase());

export function canonical(locales) {
  if (locales === undefined) return [];
  if (locales === null) throw new TypeError("Incorrect locale information provided");
  const list = typeof locales === "string" ? [locales] : Array.from(locales);
  return list.map((tag) => {
    if (typeof tag !== "string") throw wrongType("locales", "a string or an array of strings", tag);
    if (!/^[a-z]{2,8}(?:-[a-z0-9]{1,8})*$/i.test(tag)) throw new RangeError(`Incorrect locale information provided`);
    return regular(tag);
  });
}

// The locale to use: the first requested one, or the default.
export function pick(locales, what, languages) {
  const [tag = "en-US"] = canonical(locales);
  const [language, region, ...more] = tag.split("-");
  const known = languages.includes(language) && more.length === 0 && (region === undefined || REGIONS[language].includes(region));
  if (known) return tag;
  throw new RangeError(`${what} does not support the locale "${tag}" here; supported are ${languages.join(", ")}, with the regions ${languages.flatMap((name) => REGIONS[name].map((place) => `${name}-${place}`)).join(", ")}`);
}

export const NUMBER_LANGUAGES = Object.keys(NUMBERS);
export const numberForm = (tag) => NUMBERS[tag.slice(0, 2)];

// An option with a few values that are honoured and a few that are known and refused.
export function choice(options, name, honoured, refused, fallback, what) {
  const value = options[name];
  if (value === undefined) return fallback;
  const word = typeof value === "boolean" ? value : String(value);
  if (honoured.includes(word)) return word;
  if (refused.includes(word)) throw new RangeError(`${what} does not support ${name}: ${JSON.stringify(word)} here; supported are ${honoured.map((one) => JSON.stringify(one)).join(", ")}`);
  throw new RangeError(`Value ${word} out of range for Intl.${what} options property ${name}`);
}

export function refuse(options, names, what) {
  for (const name of names) if (options[name] !== undefined) throw new RangeError(`${what} does not support the option ${name} here`);
}

export function digits(options, name, least, most, fallback) {
  const value = options[name];
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!(number >= least && number <= most)) throw new RangeError(`${name} value is out of range.`);
  return Math.floor(number);
}
