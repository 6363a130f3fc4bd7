// Removes the types of a script. It is a separate bundle, evaluated only for a script that has
// types, and is not in the snapshot that every run starts from.
import { transform } from "sucrase";

// Types are removed and enums are replaced; everything else stays on its line.
const OPTIONS = { transforms: ["typescript"], disableESTransforms: true, keepUnusedImports: false };

export const strip = (code) => transform(code, OPTIONS).code;
