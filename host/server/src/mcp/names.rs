//! What a module is called as a tool, and back.
//!
//! Tool names have letters, digits, `_` and `-`; module names have no capital letters, but `/` and
//! `.`. So a capital letter replaces what tool names lack, and each name has exactly one other.

use cofferdam_domain::module::{Language, ModuleName};

/// Stands for `/`.
const SLASH: char = 'S';
/// Stands for `.`.
const DOT: char = 'D';
/// Stands before the name of a module that is called as a tool of the host's own is.
const MODULE: char = 'M';

/// What a tool name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// Code of this language.
    Code(Language),
    /// A module, whether or not there is one.
    Module(ModuleName),
}

/// The tool that runs code.
pub(super) const fn code_tool(language: Language) -> &'static str {
    match language {
        Language::Python => "run_python",
        Language::JavaScript => "run_javascript",
    }
}

/// The tool that a module is.
pub(super) fn module_tool(module: &ModuleName) -> String {
    let name: String = module
        .as_str()
        .chars()
        .map(|c| match c {
            '/' => SLASH,
            '.' => DOT,
            c => c,
        })
        .collect();
    match language_of(&name) {
        Some(_) => format!("{MODULE}{name}"),
        None => name,
    }
}

/// What a tool name means; `None` if it can mean nothing.
pub(super) fn meant(tool: &str) -> Option<Meant> {
    if let Some(language) = language_of(tool) {
        return Some(Meant::Code(language));
    }
    let (marked, name) = match tool.strip_prefix(MODULE) {
        Some(name) => (true, name),
        None => (false, tool),
    };
    if marked != language_of(name).is_some() || name.contains(['/', '.']) {
        return None;
    }
    let name = name.replace(SLASH, "/").replace(DOT, ".");
    let module = ModuleName::parse(&name).ok()?;
    (!module.is_reserved()).then_some(Meant::Module(module))
}

fn language_of(tool: &str) -> Option<Language> {
    Language::ALL
        .into_iter()
        .find(|language| code_tool(*language) == tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_has_a_name_of_its_own_and_it_leads_back() {
        let long = "a/".repeat(63) + "bc";
        let names = [
            "resize",
            "team/resize",
            "team_resize",
            "team.resize",
            "a-b.c/d_e",
            "run_python",
            "run/python",
            "run_javascript",
            &long,
        ];
        let mut tools = Vec::new();
        for name in names {
            let module = ModuleName::parse(name).unwrap();
            let tool = module_tool(&module);
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            assert!(tool.len() <= 128 && tool.chars().all(fits), "{tool}");
            assert_eq!(meant(&tool), Some(Meant::Module(module)), "{tool}");
            assert!(!tools.contains(&tool), "{tool}");
            tools.push(tool);
        }
    }

    #[test]
    fn what_is_no_tools_name_means_nothing() {
        for name in [
            "",
            "team/resize",
            "a.b",
            "Mresize",
            "Resize",
            "aSSb",
            "interpretersSpython",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
        assert_eq!(meant("run_python"), Some(Meant::Code(Language::Python)));
    }
}
