// Dates as people write them, in English and in UTC, the sandbox's time zone.
import { canonical, choice, digits, refuse } from "./tags.js";

const WHAT = "DateTimeFormat";
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DATE_FIELDS = ["weekday", "year", "month", "day"];
const TIME_FIELDS = ["hour", "minute", "second", "fractionalSecondDigits"];
const UTC_NAMES = ["utc", "gmt", "etc/utc", "etc/gmt", "+00:00"];

const DATE_STYLES = {
  full: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  long: { year: "numeric", month: "long", day: "numeric" },
  medium: { year: "numeric", month: "short", day: "numeric" },
  short: { year: "2-digit", month: "numeric", day: "numeric" },
};
const TIME_STYLES = {
  full: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "long" },
  long: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" },
  medium: { hour: "numeric", minute: "2-digit", second: "2-digit" },
  short: { hour: "numeric", minute: "2-digit" },
};

function resolve(locales, given, required, defaults) {
  const options = given === undefined ? {} : Object(given);
  const [locale = "en-US"] = canonical(locales);
  if (!["en", "en-US", "en-GB"].includes(locale)) throw new RangeError(`${WHAT} does not support the locale "${locale}" here; supported are en-US and en-GB`);
  refuse(options, ["calendar", "numberingSystem", "era", "dayPeriod", "formatMatcher"].filter((name) => options[name] !== undefined && !["gregory", "latn", "best fit"].includes(options[name])), WHAT);
  if (options.timeZone !== undefined && !UTC_NAMES.includes(String(options.timeZone).toLowerCase())) throw new RangeError(`Time zone ${options.timeZone} is not available here; only UTC is`);
  const fields = {
    weekday: choice(options, "weekday", ["long", "short", "narrow"], [], undefined, WHAT),
    year: choice(options, "year", ["numeric", "2-digit"], [], undefined, WHAT),
    month: choice(options, "month", ["numeric", "2-digit", "long", "short", "narrow"], [], undefined, WHAT),
    day: choice(options, "day", ["numeric", "2-digit"], [], undefined, WHAT),
    hour: choice(options, "hour", ["numeric", "2-digit"], [], undefined, WHAT),
    minute: choice(options, "minute", ["numeric", "2-digit"], [], undefined, WHAT),
    second: choice(options, "second", ["numeric", "2-digit"], [], undefined, WHAT),
    fractionalSecondDigits: digits(options, "fractionalSecondDigits", 1, 3, undefined),
    timeZoneName: choice(options, "timeZoneName", ["short", "long"], ["shortOffset", "longOffset", "shortGeneric", "longGeneric"], undefined, WHAT),
  };
  if (fields.timeZoneName && locale === "en-GB") throw new RangeError(`${WHAT} does not support timeZoneName in the locale "${locale}" here`);
  const dateStyle = choice(options, "dateStyle", Object.keys(DATE_STYLES), [], undefined, WHAT);
  const timeStyle = choice(options, "timeStyle", Object.keys(TIME_STYLES), [], undefined, WHAT);
  if (dateStyle || timeStyle) {
    if (Object.values(fields).some((field) => field !== undefined)) throw new TypeError("Can't set option a field when dateStyle or timeStyle is used");
    if ((required === "date" && timeStyle) || (required === "time" && dateStyle)) throw new TypeError(`Invalid option : ${required === "date" ? "timeStyle" : "dateStyle"}`);
    Object.assign(fields, DATE_STYLES[dateStyle], TIME_STYLES[timeStyle]);
    if (locale === "en-GB" && dateStyle === "short") Object.assign(fields, { year: "numeric", month: "2-digit", day: "2-digit" });
  } else {
    const asked = [...(required === "time" ? [] : DATE_FIELDS), ...(required === "date" ? [] : TIME_FIELDS)].some((name) => fields[name] !== undefined);
    if (!asked && defaults !== "time") Object.assign(fields, { year: "numeric", month: "numeric", day: "numeric" });
    if (!asked && defaults !== "date") Object.assign(fields, { hour: "numeric", minute: "numeric", second: "numeric" });
  }
  const cycle = choice(options, "hourCycle", ["h11", "h12", "h23", "h24"], [], undefined, WHAT);
  const hour12 = options.hour12 !== undefined ? Boolean(options.hour12) : cycle ? cycle === "h11" || cycle === "h12" : locale !== "en-GB";
  const hourCycle = options.hour12 !== undefined ? (hour12 ? "h12" : "h23") : (cycle ?? (hour12 ? "h12" : "h23"));
  // If hour12 is set, Node's midnight is 24 o'clock in en-US (for hour12: false) and 0 o'clock in en-GB.
  const british = locale === "en-GB";
  const midnight = options.hour12 === false && !british ? "h24" : options.hour12 && british ? "h11" : hourCycle;
  return { locale, fields, hourCycle, midnight, hour12, dateStyle, timeStyle };
}

const two = (number) => String(number).padStart(2, "0");
const sized = (number, size) => (size === "2-digit" ? two(number) : String(number));
const named = (name, size) => (size === "long" ? name : size === "short" ? name.slice(0, 3) : name[0]);

function datePart(date, { weekday, year, month, day }, locale) {
  const british = locale === "en-GB";
  const dayName = weekday && named(DAYS[date.getUTCDay()], weekday);
  const yearText = year && (year === "2-digit" ? two(date.getUTCFullYear() % 100) : String(date.getUTCFullYear()));
  if (month === undefined || month === "numeric" || month === "2-digit") {
    const whole = british && month && (year || day);
    const monthText = month && sized(date.getUTCMonth() + 1, whole ? "2-digit" : month);
    const dayText = day && sized(date.getUTCDate(), whole ? "2-digit" : day);
    const numbers = (british ? [dayText, monthText, yearText] : [monthText, dayText, yearText]).filter(Boolean).join("/");
    if (dayName && day && !month && !year) return british ? `${dayName} ${numbers}` : `${numbers} ${dayName}`;
    return [dayName, numbers].filter(Boolean).join(", ");
  }
  const short = british && month === "short" && MONTHS[date.getUTCMonth()] === "September" ? "Sept" : named(MONTHS[date.getUTCMonth()], month);
  const dayText = day && sized(date.getUTCDate(), day);
  if (british) {
    const rest = [dayText, short, yearText].filter(Boolean).join(" ");
    return dayName ? `${dayName}${year ? ", " : " "}${rest}` : rest;
  }
  const front = [short, dayText].filter(Boolean).join(" ");
  return [dayName, yearText && dayText ? `${front}, ${yearText}` : [front, yearText].filter(Boolean).join(" ")].filter(Boolean).join(", ");
}

function timePart(date, { hour, minute, second, fractionalSecondDigits, timeZoneName }, { hour12, midnight, locale }) {
  const parts = [];
  const hours = date.getUTCHours();
  if (hour) {
    const shown = { h11: hours % 12, h12: hours % 12 || 12, h23: hours, h24: hours || 24 }[midnight];
    parts.push(hour === "2-digit" || !hour12 ? two(shown) : String(shown));
  }
  if (minute) parts.push(hour || second ? two(date.getUTCMinutes()) : sized(date.getUTCMinutes(), minute === "2-digit" ? "numeric" : minute));
  if (second) parts.push(minute ? two(date.getUTCSeconds()) : sized(date.getUTCSeconds(), second === "2-digit" ? "numeric" : second));
  let text = parts.join(":");
  if (fractionalSecondDigits) text += `${second ? "." : ""}${String(date.getUTCMilliseconds()).padStart(3, "0").slice(0, fractionalSecondDigits)}`;
  const half = hours < 12 ? "AM" : "PM";
  if (hour && hour12) text += locale === "en-GB" ? ` ${half.toLowerCase()}` : ` ${half}`;
  if (timeZoneName) text += ` ${timeZoneName === "long" ? "Coordinated Universal Time" : "UTC"}`;
  return text;
}

export function formatDate(date, options) {
  if (Number.isNaN(date.getTime())) throw new RangeError("Invalid time value");
  const day = datePart(date, options.fields, options.locale);
  const time = timePart(date, options.fields, options).trim();
  const { weekday, year, month, day: dayOfMonth } = options.fields;
  const joint = month === "long" ? " at " : weekday && !year && !month && !dayOfMonth ? " " : ", ";
  return [day, time].filter(Boolean).join(joint);
}

export class DateTimeFormat {
  #options;
  constructor(locales, options) {
    this.#options = resolve(locales, options, "any", "date");
  }
  get format() {
    return (date) => formatDate(date === undefined ? new Date() : new Date(date), this.#options);
  }
  formatToParts() {
    throw new RangeError("DateTimeFormat has no formatToParts here; use format");
  }
  resolvedOptions() {
    const { fields, hour12, hourCycle, locale } = this.#options;
    const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    return { locale, calendar: "gregory", numberingSystem: "latn", timeZone: "UTC", ...(given.hour ? { hourCycle, hour12 } : {}), ...given };
  }
}

// The three functions of a Date: for an invalid date they return "Invalid Date".
const shown = (required, defaults) => (date, locales, options) => {
  const resolved = resolve(locales, options, required, defaults);
  return Number.isNaN(date.getTime()) ? "Invalid Date" : formatDate(date, resolved);
};
export const toLocaleDateTime = shown("any", "all");
export const toLocaleDay = shown("date", "date");
export const toLocaleTime = shown("time", "time");
