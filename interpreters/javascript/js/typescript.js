// Takes the types off a script. It is a bundle of its own, evaluated only for a script that has
// some: nothing of it is in the snapshot that every run starts from.
import { transform } from "sucrase";

// Types and enums go, everything else and each line stay as they are.
const OPTIONS = { transforms: ["typescript"], disableESTransforms: true, keepUnusedImports: false };

export const strip = (code) => transform(code, OPTIONS).code;
