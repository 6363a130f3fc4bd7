//! What the text of a source file imports and names.

use std::collections::BTreeSet;

/// The host's modules that a file names, as `crate::x` or `crate::{x, y}`.
pub(super) fn imports(text: &str, prefix: &str) -> BTreeSet<String> {
    let text = code_only(text);
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let boundary = text[..at].chars().next_back();
        if boundary.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let paths = top_level_paths(group);
                found.extend(paths.iter().filter_map(|path| name_at(path)));
            }
            None => found.extend(name_at(rest)),
        }
    }
    found
}

/// The paths of a `{a::…, b}` group, without its opening brace.
pub(super) fn top_level_paths(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(group[start..at].trim().to_owned());
                return found;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(group[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn name_at(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

pub(super) fn names_crate(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The text without comments, so that documentation may name what code may not.
pub(super) fn code_only(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect()
}
