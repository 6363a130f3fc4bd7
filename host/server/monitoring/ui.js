// The library by which everything is drawn: Preact, its hooks, and htm in place of a compiler.

import { h, render } from './lib/preact.js';
import htm from './lib/htm.js';

export { render };
export * from './lib/hooks.js';
export const html = htm.bind(h);
