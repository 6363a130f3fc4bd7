// Language-dependent functions: the toLocale functions and a part of Intl. An unknown option or
// locale is refused.
import { define } from "./host.js";
import { unavailable } from "./faults.js";
import { collate, collation, Collator } from "./locale/collation.js";
import { DateTimeFormat, toLocaleDateTime, toLocaleDay, toLocaleTime } from "./locale/dates.js";
import { NumberFormat, toLocaleNumber } from "./locale/numbers.js";
import { canonical, choice, pick } from "./locale/tags.js";

define(Number.prototype, {
  toLocaleString(locales, options) {
    return toLocaleNumber(Number(this), locales, options);
  },
});
define(BigInt.prototype, {
  toLocaleString(locales, options) {
    return toLocaleNumber(BigInt(this), locales, options);
  },
});
define(Date.prototype, {
  toLocaleString(locales, options) {
    return toLocaleDateTime(this, locales, options);
  },
  toLocaleDateString(locales, options) {
    return toLocaleDay(this, locales, options);
  },
  toLocaleTimeString(locales, options) {
    return toLocaleTime(this, locales, options);
  },
});

const plain = collation();
// Languages with their own rules for upper and lower case.
const OWN_CASES = ["tr", "az", "lt", "el"];
const { toLowerCase, toUpperCase } = String.prototype;
const cased = (change, name) => function (locales) {
  const [tag = "en"] = canonical(locales);
  if (OWN_CASES.includes(tag.split("-")[0])) throw new RangeError(`${name} does not support the locale "${tag}" here, which has its own rules for upper and lower case`);
  return Reflect.apply(change, this, []);
};
define(String.prototype, {
  localeCompare(that, locales, options) {
    return collate(String(this), String(that), locales === undefined && options === undefined ? plain : collation(locales, options));
  },
  toLocaleLowerCase: cased(toLowerCase, "toLocaleLowerCase"),
  toLocaleUpperCase: cased(toUpperCase, "toLocaleUpperCase"),
});
define(Array.prototype, {
  toLocaleString(locales, options) {
    return Array.from(this, (item) => (item === null || item === undefined ? "" : item.toLocaleString(locales, options))).join(",");
  },
});

class PluralRules {
  #type;
  constructor(locales, options = {}) {
    pick(locales, "PluralRules", ["en"]);
    this.#type = choice(options, "type", ["cardinal", "ordinal"], [], "cardinal", "PluralRules");
  }
  select(number) {
    const value = Number(number);
    if (this.#type === "cardinal") return value === 1 ? "one" : "other";
    const [last, two] = [value % 10, value % 100];
    if (last === 1 && two !== 11) return "one";
    if (last === 2 && two !== 12) return "two";
    return last === 3 && two !== 13 ? "few" : "other";
  }
}

class ListFormat {
  #word;
  #type;
  constructor(locales, options = {}) {
    pick(locales, "ListFormat", ["en"]);
    choice(options, "style", ["long"], ["short", "narrow"], "long", "ListFormat");
    this.#type = choice(options, "type", ["conjunction", "disjunction", "unit"], [], "conjunction", "ListFormat");
    this.#word = { conjunction: "and ", disjunction: "or ", unit: "" }[this.#type];
  }
  format(list) {
    const items = Array.from(list);
    if (items.length < 2) return items.join("");
    if (items.length === 2 && this.#word) return `${items[0]} ${this.#word}${items[1]}`;
    return `${items.slice(0, -1).join(", ")}, ${this.#word}${items.at(-1)}`;
  }
}

// Callable without new, as these three are in every engine.
const callable = (Class) => new Proxy(Class, { apply: (target, _this, args) => new target(...args) });
for (const Class of [Collator, DateTimeFormat, ListFormat, NumberFormat, PluralRules]) {
  define(Class, { supportedLocalesOf: (locales) => canonical(locales).filter((tag) => tag === "en" || tag.startsWith("en-")) });
}
const Intl = {};
define(Intl, {
  Collator: callable(Collator),
  DateTimeFormat: callable(DateTimeFormat),
  ListFormat,
  NumberFormat: callable(NumberFormat),
  PluralRules,
  getCanonicalLocales: canonical,
  [Symbol.toStringTag]: "Intl",
});
for (const name of ["DisplayNames", "DurationFormat", "Locale", "RelativeTimeFormat", "Segmenter"]) {
  const refused = class {
    constructor() {
      throw unavailable(`Intl.${name}`, "the interpreter has no tables of languages");
    }
  };
  Object.defineProperty(refused, "name", { value: name });
  define(Intl, { [name]: refused });
}
define(globalThis, { Intl });
