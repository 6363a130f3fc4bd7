// Numbers as people write them.
import { choice, digits, NUMBER_LANGUAGES, numberForm, pick, refuse } from "./tags.js";

const WHAT = "NumberFormat";
const SYMBOLS = { USD: "$", EUR: "€", GBP: "£", JPY: "¥", INR: "₹", CNY: "CN¥", KRW: "₩", BRL: "R$", CAD: "CA$", AUD: "A$", NZD: "NZ$", MXN: "MX$", ILS: "₪", VND: "₫", HKD: "HK$", TWD: "NT$", PHP: "₱" };
const HOME = { "en-CA": "CAD", "en-AU": "AUD", "en-NZ": "NZD" };
const ENGLISH = {
  "en-GB": { GBP: "£", EUR: "€", USD: "US$", JPY: "JP¥" }, "en-CA": { EUR: "€", GBP: "£", USD: "US$", JPY: "JP¥" }, "en-IE": { EUR: "€", GBP: "£" },
};
const ABROAD = {
  de: { EUR: "€", USD: "$", GBP: "£", JPY: "¥" }, es: { EUR: "€", USD: "US$", JPY: "JPY" }, fr: { EUR: "€", USD: "$US", GBP: "£GB", JPY: "JPY" },
  it: { EUR: "€", USD: "USD", JPY: "JPY" }, ja: { JPY: "￥", USD: "$", EUR: "€" }, zh: { CNY: "¥", USD: "US$", EUR: "€", JPY: "JP¥" },
};
const WITHOUT_CENTS = ["JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "PYG", "RWF"];
const COMPACT = ["", "K", "M", "B", "T"];

// The shortest exact digits of a finite number, and the position of the point among them.
function decimal(value) {
  const text = typeof value === "bigint" ? String(value) : String(Math.abs(value));
  const [, whole, fraction = "", exponent = "0"] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text);
  const all = whole + fraction;
  const lead = /^0*/.exec(all)[0].length;
  if (lead === all.length) return { text: "0", point: 1 };
  return { text: all.slice(lead), point: whole.length + Number(exponent) - lead };
}

// Rounded to `count` digits; a tie rounds away from zero.
function rounded({ text, point }, count) {
  if (count >= text.length) return { text, point };
  if (count < 0) return { text: "0", point: 1 };
  const up = text[count] >= "5";
  const kept = text.slice(0, count);
  if (!up) return kept === "" ? { text: "0", point: 1 } : { text: kept, point };
  const next = String(BigInt(kept || "0") + 1n).padStart(count, "0");
  return { text: next, point: point + next.length - count };
}

// Whole part and fraction, the latter with no zeros at its end.
function split({ text, point }) {
  const padded = point <= 0 ? "0".repeat(1 - point) + text : text.padEnd(point, "0");
  const at = Math.max(point, 1);
  return [padded.slice(0, at), padded.slice(at).replace(/0+$/, "")];
}

function resolve(locales, given) {
  const options = given === undefined ? {} : Object(given);
  const locale = pick(locales, WHAT, NUMBER_LANGUAGES);
  refuse(options, ["numberingSystem", "unit", "unitDisplay", "roundingIncrement", "roundingPriority"], WHAT);
  choice(options, "currencySign", ["standard"], ["accounting"], "standard", WHAT);
  choice(options, "roundingMode", ["halfExpand"], ["ceil", "floor", "expand", "trunc", "halfCeil", "halfFloor", "halfTrunc", "halfEven"], "halfExpand", WHAT);
  choice(options, "compactDisplay", ["short"], ["long"], "short", WHAT);
  choice(options, "localeMatcher", ["lookup", "best fit"], [], "best fit", WHAT);
  const style = choice(options, "style", ["decimal", "percent", "currency"], ["unit"], "decimal", WHAT);
  const notation = choice(options, "notation", locale.startsWith("en") ? ["standard", "compact"] : ["standard"], ["compact", "scientific", "engineering"], "standard", WHAT);
  const currency = options.currency === undefined ? undefined : String(options.currency).toUpperCase();
  if (style === "currency" && currency === undefined) throw new TypeError("Currency code is required with currency style.");
  if (currency !== undefined && !/^[A-Z]{3}$/.test(currency)) throw new RangeError(`Invalid currency code : ${options.currency}`);
  const cents = WITHOUT_CENTS.includes(currency) ? 0 : 2;
  const usual = style === "percent" || notation === "compact" ? [0, 0] : style === "currency" ? [cents, cents] : [0, 3];
  const least = digits(options, "minimumFractionDigits", 0, 100, undefined);
  const most = digits(options, "maximumFractionDigits", 0, 100, undefined);
  if (least !== undefined && most !== undefined && least > most) throw new RangeError("maximumFractionDigits value is out of range.");
  const significant = options.minimumSignificantDigits !== undefined || options.maximumSignificantDigits !== undefined;
  const leastSignificant = digits(options, "minimumSignificantDigits", 1, 21, 1);
  const resolved = {
    locale, numberingSystem: "latn", style, notation,
    minimumIntegerDigits: digits(options, "minimumIntegerDigits", 1, 21, 1),
    minimumFractionDigits: least ?? Math.min(usual[0], most ?? usual[0]),
    maximumFractionDigits: most ?? Math.max(usual[1], least ?? 0),
    useGrouping: grouping(options.useGrouping, notation),
    signDisplay: choice(options, "signDisplay", ["auto", "always", "never", "exceptZero", "negative"], [], "auto", WHAT),
    trailingZeroDisplay: choice(options, "trailingZeroDisplay", ["auto", "stripIfInteger"], [], "auto", WHAT),
    roundingIncrement: 1, roundingMode: "halfExpand", roundingPriority: "auto",
  };
  if (significant) Object.assign(resolved, { minimumSignificantDigits: leastSignificant, maximumSignificantDigits: digits(options, "maximumSignificantDigits", leastSignificant, 21, 21) });
  const compactRounding = notation === "compact" && !significant && least === undefined && most === undefined;
  Object.defineProperty(resolved, "compactRounding", { value: compactRounding });
  if (style === "currency") Object.assign(resolved, { currency, currencyDisplay: choice(options, "currencyDisplay", ["symbol", "narrowSymbol", "code"], ["name"], "symbol", WHAT) });
  return resolved;
}

function grouping(value, notation) {
  if (value === undefined) return notation === "compact" ? "min2" : "auto";
  if (value === false || value === "false") return false;
  if (value === true || value === "true") return "always";
  if (["auto", "always", "min2"].includes(value)) return value;
  throw new RangeError(`Value ${value} out of range for Intl.NumberFormat options property useGrouping`);
}

function body(value, options) {
  const { minimumFractionDigits: least, maximumFractionDigits: most, maximumSignificantDigits: significant } = options;
  let number = decimal(value);
  let zeros = least;
  if (options.compactRounding) number = rounded(number, Math.max(2, number.point));
  else if (significant !== undefined) number = rounded(number, significant);
  else number = rounded(number, number.point + most);
  let [whole, fraction] = split(number);
  if (significant !== undefined) zeros = options.minimumSignificantDigits - (whole !== "0" || fraction === "" ? whole.length : -/^0*/.exec(fraction)[0].length);
  if (options.trailingZeroDisplay === "stripIfInteger" && fraction === "") zeros = 0;
  return [whole.padStart(options.minimumIntegerDigits, "0"), fraction.padEnd(Math.max(0, zeros), "0")];
}

function grouped(whole, { useGrouping, locale }, form) {
  const least = useGrouping === "min2" || (useGrouping === "auto" && form.leastGroups === 2) ? 5 : 4;
  return useGrouping === false || whole.length < least ? whole : whole.replace(/\B(?=(\d{3})+$)/g, locale === "en-IN" ? "," : form.group);
}

function currencySign({ currency, currencyDisplay, locale }) {
  if (currencyDisplay === "code") return currency;
  if (currencyDisplay === "narrowSymbol") return (SYMBOLS[currency] ?? currency).replace(/^[A-Z]+(?=[$¥])/, "");
  const abroad = ABROAD[locale.slice(0, 2)];
  if (abroad) {
    if (Object.hasOwn(abroad, currency)) return abroad[currency];
    throw new RangeError(`${WHAT} does not have the sign of ${currency} in the locale "${locale}" here; currencyDisplay: "code" shows its letters`);
  }
  if (HOME[locale] === currency) return "$";
  if (locale === "en" || locale === "en-US") return SYMBOLS[currency] ?? currency;
  if (Object.hasOwn(ENGLISH, locale) && Object.hasOwn(ENGLISH[locale], currency)) return ENGLISH[locale][currency];
  throw new RangeError(`${WHAT} does not have the sign of ${currency} in the locale "${locale}" here; currencyDisplay: "code" shows its letters`);
}

function signOf(value, zero, display) {
  const negative = value < 0 || Object.is(value, -0);
  if (display === "never") return "";
  if (display === "exceptZero") return zero || value !== value ? "" : negative ? "-" : "+";
  if (display === "always") return negative ? "-" : "+";
  return negative && !(display === "negative" && zero) ? "-" : "";
}

export function formatNumber(value, options) {
  const form = numberForm(options.locale);
  let scale = "";
  let text;
  let zero = false;
  if (value !== value) text = "NaN";
  else if (value === Infinity || value === -Infinity) text = "∞";
  else {
    let number = options.style === "percent" ? scaled(value, 2) : value;
    if (options.notation === "compact") {
      let steps = Math.max(0, Math.min(COMPACT.length - 1, Math.floor((decimal(value).point - 1) / 3)));
      const [whole] = body(scaled(value, -3 * steps), options);
      if (whole.length > 3 && steps < COMPACT.length - 1) steps++;
      number = scaled(value, -3 * steps);
      scale = COMPACT[steps];
    }
    const [whole, fraction] = body(number, options);
    zero = !/[1-9]/.test(whole + fraction);
    text = grouped(whole, options, form) + (fraction && form.decimal + fraction);
  }
  text += scale;
  const sign = signOf(value, zero, options.signDisplay);
  if (options.style === "percent") return `${sign}${text}${form.behind ?? ""}%`;
  if (options.style !== "currency") return sign + text;
  const currency = currencySign(options);
  const behind = form.currencyBehind ?? form.behind;
  if (behind !== undefined) return `${sign}${text}${behind || "\u00a0"}${currency}`;
  return `${sign}${currency}${/[A-Za-z]$/.test(currency) && /^\d/.test(text) ? "\u00a0" : ""}${text}`;
}

// Moves a number's point without floating-point error.
function scaled(value, places) {
  const { text, point } = decimal(value);
  return Number(`0.${text}e${point + places}`);
}

export class NumberFormat {
  #options;
  constructor(locales, options) {
    this.#options = resolve(locales, options);
  }
  get format() {
    return (value) => formatNumber(typeof value === "bigint" ? value : Number(value), this.#options);
  }
  formatToParts() {
    throw new RangeError("NumberFormat has no formatToParts here; use format");
  }
  resolvedOptions() {
    return { ...this.#options };
  }
}

export const toLocaleNumber = (value, locales, options) => formatNumber(value, resolve(locales, options));
