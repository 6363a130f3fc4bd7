// What holds for a named thing, as JSON to change: for things whose members are many and seldom changed.

import { html, useState } from './ui.js';
import { parse } from './format.js';
import { Dialog, Field, Wrong, say } from './parts.js';

/** What was said of a thing: its members but `told`, which the host adds, and those that say nothing. */
export const saidOf = (thing, told) => Object.fromEntries(
  Object.entries(thing).filter(([name, value]) => !told.includes(name) && value !== null));

/** A dialog in which `said` is changed, of the thing called `name`, or of a new one, which has a name if there is a
 * `pattern` for it. `put(name, json)` keeps it. */
export function Edit({ what, name, pattern, said, hint, put, onDone, onClose }) {
  const [chosen, setChosen] = useState(name ?? '');
  const [text, setText] = useState(JSON.stringify(said, null, 2));
  const [error, setError] = useState(null);
  const keep = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      await put(chosen, parse(text));
      say(chosen ? `${chosen} is as you said` : `The ${what} is kept`);
      onDone?.();
    } catch (failure) {
      setError(failure instanceof SyntaxError ? { detail: `This is no JSON: ${failure.message}`, code: 'invalid_json' } : failure);
    }
  };
  return html`<${Dialog} title=${name ? `Change ${name}` : `Make a ${what}`} onClose=${onClose}><form onSubmit=${keep}>
    ${!name && pattern && html`<${Field} label="Name" required pattern=${pattern} maxlength="128" value=${chosen}
      onInput=${(event) => setChosen(event.target.value)} />`}
    <${Field} as="textarea" class="code" label="What holds for it, JSON" spellcheck="false" value=${text} hint=${hint}
      onInput=${(event) => setText(event.target.value)} />
    ${error && html`<${Wrong} error=${error} />`}
    <div class="actions"><button class="main">Keep it</button><button type="button" onClick=${onClose}>Leave it</button></div></form></${Dialog}>`;
}
