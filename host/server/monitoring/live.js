// What changes by itself: polling that rests while nobody looks, and events of one stream.

import { useState, useLayoutEffect, useRef } from './ui.js';

/** The longest wait between two tries. */
const WAIT_MAX_MS = 60_000;
/** How often the wait doubles at most while every answer is like the one before, and the longest wait then. */
const DOUBLED_MAX = 2;
const QUIET_MAX_MS = 20_000;
/** The most text of one stream that a page keeps; the oldest goes first. */
export const KEPT_MAX = 200_000;

let paused = false;
const listeners = new Set();

export const isPaused = () => paused;
/** Stops or continues all polling of this tab. */
export function pause(now) {
  paused = now;
  listeners.forEach((listen) => listen());
}
/** Everything that is shown is asked for again at once. */
export const refresh = () => listeners.forEach((listen) => listen(true));

/**
 * What `load(signal)` gives, anew every `every` milliseconds (0: once), and again when `inputs` change.
 * It does not ask while the tab is hidden, more seldom while nothing changes, and ever more seldom while the host
 * does not answer.
 */
export function usePolled(load, every, inputs) {
  const [state, set] = useState({ data: null, error: null });
  const again = useRef(() => {});
  // An effect proper waits for a frame to be drawn, and what is asked for then comes a frame later.
  useLayoutEffect(() => {
    let timer = 0;
    let misses = 0;
    let alike = 0;
    let last = null;
    let asking = null;
    const plan = (least) => {
      clearTimeout(timer);
      if (!every || paused || document.hidden) return;
      const quiet = Math.max(every, Math.min(every * 2 ** alike, QUIET_MAX_MS));
      const wait = Math.max(least, Math.min(quiet * 2 ** misses, WAIT_MAX_MS));
      timer = setTimeout(ask, wait);
    };
    const ask = async () => {
      clearTimeout(timer);
      asking?.abort();
      const mine = new AbortController();
      asking = mine;
      let least = 0;
      try {
        const data = await load(mine.signal);
        if (mine.signal.aborted) return;
        misses = 0;
        // What is asked for once has nothing to be like.
        const said = every ? JSON.stringify(data) : null;
        alike = said === last ? Math.min(alike + 1, DOUBLED_MAX) : 0;
        last = said;
        set({ data, error: null });
      } catch (error) {
        if (mine.signal.aborted) return;
        misses += 1;
        least = (error.retryAfter ?? 0) * 1000;
        set((old) => ({ data: old.data, error }));
      }
      plan(least);
    };
    const changed = (now) => {
      if (document.hidden || (paused && !now)) clearTimeout(timer);
      else again.current();
    };
    const seen = () => changed(false);
    // Whoever asks for it waits for something new.
    again.current = () => { alike = 0; return ask(); };
    listeners.add(changed);
    document.addEventListener('visibilitychange', seen);
    ask();
    return () => {
      clearTimeout(timer);
      asking?.abort();
      listeners.delete(changed);
      document.removeEventListener('visibilitychange', seen);
    };
  }, inputs);
  return { ...state, again: () => again.current() };
}

/** `text` with `more` behind it, within what is kept. */
export function kept(text, more) {
  const whole = text + more;
  return whole.length <= KEPT_MAX ? whole : whole.slice(whole.length - KEPT_MAX);
}
