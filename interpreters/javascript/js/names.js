// The bundler adds numbers to names that occur twice; this restores the names of functions that
// scripts can see.

const NUMBERED = /^(.+?)\d+$/;

function rename(holder, key) {
  const value = Object.getOwnPropertyDescriptor(holder, key)?.value;
  if (typeof value !== "function") return;
  const [, name] = NUMBERED.exec(value.name) ?? [];
  if (name !== undefined && name === key) Object.defineProperty(value, "name", { value: name });
}

// Goes through the members of a module, and through those of its classes.
export function restoreNames(holder) {
  for (const key of Object.getOwnPropertyNames(holder)) {
    rename(holder, key);
    const value = Object.getOwnPropertyDescriptor(holder, key)?.value;
    if (typeof value === "function" && value.prototype) for (const member of Object.getOwnPropertyNames(value.prototype)) rename(value.prototype, member);
  }
}
