//! The page's own scripts, joined into one: apart they take a quarter more when they are packed, and a
//! request each.
//!
//! They are modules that a browser runs as they are. Joined, each is a function of its own that returns what it
//! exports, so its other names stay its own. That works for modules of one form: a statement of import is
//! one line that names what it takes, from the library or from a module before; a declaration that is exported
//! begins its line, and no two modules export the same name. Tests hold them to it.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The library, which stays apart.
const LIBRARY: &str = "ui.js'";
/// What a declaration may say before its name.
const DECLARATIONS: [&str; 5] = [
    "async function* ",
    "async function ",
    "function ",
    "const ",
    "class ",
];

/// Joins modules, which come in the order in which they need one another.
pub(super) fn join(modules: &[&str]) -> String {
    let lines = || modules.iter().flat_map(|module| module.lines());
    let of_library = lines().filter_map(imported);
    let of_library = of_library.filter(|(_, from)| from.ends_with(LIBRARY));
    let names: BTreeSet<&str> = of_library.flat_map(|(names, _)| names).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut joined = format!("import {{ {} }} from './{LIBRARY};\n", names.join(", "));
    for module in modules {
        let exports: Vec<&str> = module.lines().filter_map(exported).collect();
        let exports = exports.join(", ");
        let begin = match exports.is_empty() {
            true => String::new(),
            false => format!("const {{ {exports} }} = "),
        };
        // A string is written to without fail.
        let _written = writeln!(joined, "{begin}(() => {{");
        for line in module.lines().filter(|line| imported(line).is_none()) {
            // Space at the beginning of a line means nothing in these scripts.
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            if !line.is_empty() && !is_comment(line) {
                joined.push_str(line);
                joined.push('\n');
            }
        }
        let _written = writeln!(joined, "return {{ {exports} }};\n}})();");
    }
    joined
}

/// The names that a line imports, and from where, with what is behind that.
fn imported(line: &str) -> Option<(Vec<&str>, &str)> {
    let (names, from) = line.strip_prefix("import {")?.split_once("} from '")?;
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    Some((names.collect(), from.trim_end_matches(';')))
}

/// The name that a line exports.
fn exported(line: &str) -> Option<&str> {
    let declaration = line.strip_prefix("export ")?;
    let name = DECLARATIONS
        .iter()
        .find_map(|what| declaration.strip_prefix(what))?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = name.find(|letter| !is_name(letter)).unwrap_or(name.len());
    Some(&name[..end])
}

/// Whether nothing of a line is code.
fn is_comment(line: &str) -> bool {
    line.starts_with("// ") || line.starts_with("/**") || line.starts_with("* ") || line == "*/"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::monitoring::files::MODULES;

    #[test]
    fn modules_become_functions_that_know_what_those_before_them_export() {
        let first = "// What it is for.\n\nimport { html } from './ui.js';\n\nconst most = 1;\n\
                     /** A comment. */\nexport function part() {\n  return html`${most}`;\n}\n";
        let second = "import { html, render } from './ui.js';\nimport { part } from './first.js';\n\
                      render(part());\n";
        let expected = "import { html, render } from './ui.js';\n\
                        const { part } = (() => {\nconst most = 1;\nfunction part() {\n\
                        return html`${most}`;\n}\nreturn { part };\n})();\n\
                        (() => {\nrender(part());\nreturn {  };\n})();\n";
        assert_eq!(join(&[first, second]), expected);
    }

    #[test]
    fn every_module_has_the_form_in_which_it_can_be_joined() {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for (name, text) in MODULES {
            for line in text.lines() {
                let is_statement = |word: &str| line.trim_start().starts_with(word);
                if is_statement("import ") || line.contains("import(") {
                    let (names, from) = imported(line).unwrap_or_else(|| panic!("{name}: {line}"));
                    let file = from.trim_start_matches("../").trim_start_matches("./");
                    let is_known = |wanted: &&str| file == LIBRARY || known.contains(*wanted);
                    let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).collect();
                    assert!(unknown.is_empty(), "{name} imports {unknown:?} from {file}");
                }
                if is_statement("export ") {
                    assert!(exported(line).is_some(), "{name}: {line}");
                }
            }
            for export in text.lines().filter_map(exported) {
                assert!(
                    known.insert(export),
                    "{name} exports {export} a second time"
                );
            }
        }
        assert!(known.contains("PAGES"));
    }
}
