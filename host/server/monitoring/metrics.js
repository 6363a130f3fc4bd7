// Reads the host's figures from the text of /metrics.

const LINE = /^cofferdam_(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** All figures, by name without its prefix: `[{labels, value}]`. */
export function metrics(text) {
  const read = new Map();
  for (const line of text.split('\n')) {
    const [, name, labels = '', figure] = LINE.exec(line) ?? [];
    if (!name) continue;
    const pairs = Object.fromEntries(Array.from(labels.matchAll(LABEL), ([, key, value]) => [key, value]));
    if (!read.has(name)) read.set(name, []);
    read.get(name).push({ labels: pairs, value: Number(figure) });
  }
  return read;
}

/** The figure with these labels. */
export const value = (read, name, labels = {}) => read.get(name)?.find((one) =>
  Object.entries(labels).every(([key, text]) => one.labels[key] === text))?.value;

/** The sum of those that fit. */
export const total = (read, name, fits) => (read.get(name) ?? [])
  .filter((one) => fits(one.labels)).reduce((sum, one) => sum + one.value, 0);
