// A form made from a JSON Schema: one control for each member that a control can hold, JSON for the rest.
// The host checks the input; here nothing is refused.

import { html } from './ui.js';
import { parse } from './format.js';
import { Field, Choice } from './parts.js';

/** The most members of an object that become controls. */
const MEMBERS_MAX = 40;

const typeOf = (schema) => Array.isArray(schema?.type) ? schema.type.find((type) => type !== 'null') : schema?.type;

/** Whether a form can be made: an object with named members, each of which is shown. */
export const isForm = (schema) => typeOf(schema) === 'object' && schema.properties
  && Object.keys(schema.properties).length <= MEMBERS_MAX;

/** A value that the schema begins with. */
export function initial(schema) {
  if (schema?.default !== undefined) return schema.default;
  if (schema?.examples?.[0] !== undefined) return schema.examples[0];
  if (!isForm(schema)) return undefined;
  const members = Object.entries(schema.properties).map(([name, one]) => [name, initial(one)]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

/** What was typed, as the value of that type; text that is no such value is sent as it is, and refused by name. */
function read(type, text) {
  if (text === '') return undefined;
  if (type === 'string') return text;
  try { return parse(text); } catch { return text; }
}

function Member({ name, schema, value, isNeeded, onValue }) {
  const type = typeOf(schema);
  const label = `${schema.title ?? name}${isNeeded ? '' : ' (optional)'}`;
  const hint = schema.description;
  if (isForm(schema)) {
    return html`<fieldset><legend>${label}</legend>${hint && html`<p class="small quiet">${hint}</p>`}
      <${SchemaForm} schema=${schema} value=${value ?? {}} onValue=${onValue} /></fieldset>`;
  }
  if (Array.isArray(schema.enum)) {
    const words = schema.enum.slice(0, 200).map((one) => typeof one === 'string' ? one : JSON.stringify(one));
    const now = typeof value === 'string' ? value : JSON.stringify(value);
    return html`<${Choice} label=${label} hint=${hint} words=${words} any=${isNeeded ? 'choose one' : 'none'} value=${now ?? ''}
      onPick=${(word) => onValue(word === '' ? undefined : schema.enum[words.indexOf(word)])} />`;
  }
  if (type === 'boolean') {
    return html`<${Choice} label=${label} hint=${hint} words=${['true', 'false']} any=${isNeeded ? 'choose one' : 'none'}
      value=${value === undefined ? '' : String(value)} onPick=${(word) => onValue(word === '' ? undefined : word === 'true')} />`;
  }
  const isText = type === 'string';
  const shown = value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  const change = (event) => onValue(read(type, event.target.value));
  if (type === 'number' || type === 'integer') {
    return html`<${Field} type="number" step=${type === 'integer' ? 1 : 'any'} label=${label} hint=${hint} value=${shown} onInput=${change} />`;
  }
  return html`<${Field} as="textarea" rows=${isText && !shown.includes('\n') ? 1 : 3} class=${isText ? '' : 'mono'} label=${isText ? label : `${label}, JSON`}
    hint=${hint} value=${shown} ...${isText ? { onInput: change } : { onChange: change }} />`;
}

export function SchemaForm({ schema, value, onValue }) {
  const needed = new Set(schema.required ?? []);
  const change = (name) => (member) => {
    const { [name]: _, ...rest } = value;
    onValue(member === undefined ? rest : { ...rest, [name]: member });
  };
  return html`<div class="fields">${Object.entries(schema.properties).map(([name, one]) => html`<${Member} key=${name}
    name=${name} schema=${one ?? {}} value=${value[name]} isNeeded=${needed.has(name)} onValue=${change(name)} />`)}</div>`;
}
