//! Converts names of modules to names of tools and back.
//!
//! Tool names have letters, digits, `_` and `-`, do not begin with a digit and are short, as the
//! strictest client requires. Module names have no capital letters, but `/` and `.`, and may be
//! long. So capital letters replace the characters that tool names lack, and the mapping is one to
//! one. A name that would be too long keeps its beginning and ends in a part of its hash.

use cofferdam_domain::module::{Language, ModuleName};
use sha2::{Digest as _, Sha256};

/// Replaces `/`.
const SLASH: char = 'S';
/// Replaces `.`.
const DOT: char = 'D';
/// Precedes the name of a module that equals one of the host's own tools, or begins with a digit.
const MODULE: char = 'M';
/// Precedes the hash of a name that is too long.
const HASH: char = 'H';
/// The longest tool name.
const BYTES_MAX: usize = 63;
/// Hexadecimal digits of a hash: two names with the same beginning collide with a probability of 1
/// in 2⁶⁴.
const HASH_DIGITS: usize = 16;

/// The meaning of a tool name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// Code of this language.
    Code(Language),
    /// A module, which may not exist.
    Module(ModuleName),
    /// One of the modules whose names come after this one and share its beginning.
    OneAfter(ModuleName),
}

/// The tool that runs code.
pub(super) const fn code_tool(language: Language) -> &'static str {
    match language {
        Language::Python => "run_python",
        Language::JavaScript => "run_javascript",
    }
}

/// The tool name of a module.
pub(super) fn module_tool(module: &ModuleName) -> String {
    let letter = |c| match c {
        '/' => SLASH,
        '.' => DOT,
        c => c,
    };
    let mut name: String = module.as_str().chars().map(letter).collect();
    if needs_mark(&name) {
        name.insert(0, MODULE);
    }
    if name.len() > BYTES_MAX {
        let hash = Sha256::digest(module.as_str());
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        name.truncate(BYTES_MAX - 1 - HASH_DIGITS);
        name.push(HASH);
        name.push_str(&digits[..HASH_DIGITS]);
    }
    name
}

/// The meaning of a tool name; `None` if no tool can have this name.
pub(super) fn meant(tool: &str) -> Option<Meant> {
    if let Some(language) = language_of(tool) {
        return Some(Meant::Code(language));
    }
    let (name, is_short) = match tool.split_once(HASH) {
        Some((name, hash)) if tool.len() == BYTES_MAX && hash.len() == HASH_DIGITS => (name, false),
        Some(_) => return None,
        None if tool.len() > BYTES_MAX => return None,
        None => (tool, true),
    };
    let (marked, name) = match name.strip_prefix(MODULE) {
        Some(name) => (true, name),
        None => (false, name),
    };
    if marked != needs_mark(name) || name.contains(['/', '.']) {
        return None;
    }
    let name = name.replace(SLASH, "/").replace(DOT, ".");
    // The beginning of a name need not be a valid name: it may end in a slash.
    let name = if is_short {
        &name
    } else {
        name.trim_end_matches('/')
    };
    let module = ModuleName::parse(name).ok()?;
    match is_short {
        true if module.is_reserved() => None,
        true => Some(Meant::Module(module)),
        false => Some(Meant::OneAfter(module)),
    }
}

fn needs_mark(name: &str) -> bool {
    language_of(name).is_some() || name.starts_with(|c: char| c.is_ascii_digit())
}

fn language_of(tool: &str) -> Option<Language> {
    Language::ALL
        .into_iter()
        .find(|language| code_tool(*language) == tool)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leads_back(module: &ModuleName) {
        let tool = module_tool(module);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(tool.len() <= BYTES_MAX && tool.chars().all(fits), "{tool}");
        assert!(
            tool.starts_with(|c: char| c.is_ascii_alphabetic()),
            "{tool}"
        );
        match meant(&tool) {
            Some(Meant::Module(other)) => assert_eq!(other, *module, "{tool}"),
            Some(Meant::OneAfter(first)) => {
                assert!(first < *module, "{tool}");
                assert!(module.as_str().starts_with(first.as_str()), "{tool}");
            }
            other => panic!("{tool}: {other:?}"),
        }
    }

    #[test]
    fn every_module_has_a_name_of_its_own_and_it_leads_back() {
        let (long, longer) = ("a/".repeat(63) + "bc", "a/".repeat(63) + "bd");
        let names = [
            "resize",
            "team/resize",
            "team_resize",
            "team.resize",
            "a-b.c/d_e",
            "run_python",
            "run/python",
            "run_javascript",
            "0",
            "7zip/x",
            &"b".repeat(63),
            &"b".repeat(64),
            &long,
            &longer,
        ];
        let mut tools = Vec::new();
        for name in names {
            let module = ModuleName::parse(name).unwrap();
            leads_back(&module);
            let tool = module_tool(&module);
            assert!(!tools.contains(&tool), "{tool}");
            tools.push(tool);
        }
    }

    proptest! {
        #[test]
        fn every_name_leads_back(name in "[a-z0-9][a-z0-9._/-]{0,127}", other in "[a-z0-9][a-z0-9._/-]{0,127}") {
            let names = (ModuleName::parse(&name), ModuleName::parse(&other));
            let (Ok(module), Ok(other)) = names else { return Ok(()) };
            prop_assume!(!module.is_reserved() && !other.is_reserved());
            leads_back(&module);
            prop_assert_eq!(module_tool(&module) == module_tool(&other), module == other);
        }

        #[test]
        fn a_tool_name_maps_back_to_itself(tool in "[a-zA-Z0-9_./-]{0,70}") {
            if let Some(Meant::Module(module)) = meant(&tool) {
                prop_assert_eq!(module_tool(&module), tool);
            }
        }
    }

    #[test]
    fn an_invalid_tool_name_has_no_meaning() {
        for name in [
            "",
            "team/resize",
            "a.b",
            "Mresize",
            "Resize",
            "aSSb",
            "interpretersSpython",
            "7zip",
            "aH0123456789abcdef",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
        assert_eq!(meant("run_python"), Some(Meant::Code(Language::Python)));
    }
}
