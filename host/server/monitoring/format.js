// Figures as people read them. Nothing here knows of the host or of the page.

const units = (value, names, step) => {
  let place = 0;
  while (Math.abs(value) >= step && place < names.length - 1) {
    value /= step;
    place += 1;
  }
  const digits = place === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${names[place]}`;
};

export const bytes = (value) => value == null ? '–' : units(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024);

export const count = (value) => value == null ? '–' : Math.round(value).toLocaleString('en').replaceAll(',', '\u202f');

export const rate = (value) => value == null ? '–' : value >= 100 ? count(value) : value.toFixed(value >= 10 ? 1 : 2);

/** A length of time given in milliseconds. */
export function duration(ms) {
  if (ms == null || Number.isNaN(ms)) return '–';
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** How long ago, or how far ahead. */
export function ago(time, now = Date.now()) {
  const ms = now - Date.parse(time);
  if (Math.abs(ms) < 1500) return 'now';
  const whole = duration(Math.abs(ms)).replace(/\.\d+ s/, ' s').replace(/(min|h) .*/, '$1');
  return ms >= 0 ? `${whole} ago` : `in ${whole}`;
}

/** Made once: each one costs more than a row of a table. */
const CLOCK = new Intl.DateTimeFormat('sv', { dateStyle: 'short', timeStyle: 'medium' });
export const clock = (time) => CLOCK.format(new Date(time));

/** The part of an id by which people tell it from others. */
export const short = (id) => String(id).length > 20 ? `…${String(id).slice(-12)}` : String(id);

/** A whole number that JavaScript would round, or one that it has no number for. */
const isBeyond = (value) => typeof value === 'number' && !Number.isSafeInteger(value) && (Number.isInteger(value) || !Number.isFinite(value));

/** JSON, in which such numbers stay as they were written, where the browser can keep them. */
export const parse = (text) => JSON.parse(text, (key, value, context) =>
  isBeyond(value) && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value);

/** JSON with indentation, if the text is some; otherwise the text. */
export function pretty(text) {
  try { return JSON.stringify(parse(text), null, 2); } catch { return text; }
}
