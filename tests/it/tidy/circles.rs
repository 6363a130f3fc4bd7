//! There is no cycle between the files of a crate: a part that two files need of each other belongs
//! in a third.
//!
//! A file and the files below it are parts of one noun, so a part may use what its parent defines.
//! Tests are left out, because they use everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{CRATES, code_only, files_below, read, top_level_paths};
use crate::support::guests::root;

/// A file's place in its crate, e.g. `["queue", "events"]`; the root has none.
type Module = Vec<String>;

/// The files that a file names.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn no_two_files_need_each_other() {
    let mut circles = Vec::new();
    for (krate, _) in CRATES {
        let graph = graph(&root().join("host").join(krate).join("src"));
        assert!(!graph.is_empty(), "{krate} has no files");
        for (module, others) in &graph {
            for other in others.iter().filter(|other| reaches(&graph, other, module)) {
                circles.push(format!(
                    "{krate}: {} -> {}",
                    module.join("::"),
                    other.join("::")
                ));
            }
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_would_be_seen() {
    let names = |names: &[&str]| names.iter().map(|name| vec![(*name).to_owned()]).collect();
    let modules: BTreeSet<Module> = names(&["a", "b"]);
    let of = |name: &str, text: &str| named(&vec![name.to_owned()], text, &modules);
    let graph = Graph::from([
        (vec!["a".to_owned()], of("a", "use crate::{b::{B, C}, D};")),
        (vec!["b".to_owned()], of("b", "fn f() { super::a::g(); }")),
    ]);
    assert!(reaches(
        &graph,
        &vec!["b".to_owned()],
        &vec!["a".to_owned()]
    ));
}

fn graph(src: &Path) -> Graph {
    let files: Vec<_> = files_below(src, &["rs"])
        .into_iter()
        .map(|file| (module(src, &file), file))
        .filter(|(module, _)| !is_test(module))
        .collect();
    let modules = files.iter().map(|(module, _)| module.clone()).collect();
    files
        .iter()
        .map(|(module, file)| {
            let text = code_only(&read(file));
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            let others = named(module, code.unwrap_or(&text), &modules);
            (module.clone(), others)
        })
        .collect()
}

fn module(src: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(src).expect("a file of the crate");
    let parts = relative.with_extension("");
    let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "lib").collect()
}

fn is_test(module: &Module) -> bool {
    module
        .iter()
        .any(|part| part == "tests" || part == "conformance")
}

/// The files that `text`, the file of `module`, names, without itself and those above it.
fn named(module: &Module, text: &str, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for (start, rest) in paths(text) {
        let above = |levels: usize| module[..module.len().saturating_sub(levels)].to_vec();
        let base = match start {
            "crate" => Vec::new(),
            "self" => above(0),
            _ => above(start.matches("super").count()),
        };
        for path in expand(&base, rest) {
            found.extend(file_of(path, modules));
        }
    }
    // A file names its parts without their path.
    let parts = modules
        .iter()
        .filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
    found.extend(
        parts
            .filter(|part| text.contains(&format!("{}::", part[part.len() - 1])))
            .cloned(),
    );
    found.retain(|other| !module.starts_with(other));
    found
}

/// The start of a path into the host: its first word or words, and the text after them.
fn paths(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for start in [
        "crate",
        "self",
        "super::super::super",
        "super::super",
        "super",
    ] {
        for (at, _) in text.match_indices(&format!("{start}::")) {
            let before = text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                found.push((start, &text[at + start.len() + 2..]));
            }
        }
    }
    found.retain(|(_, rest)| !rest.starts_with("super::"));
    found
}

/// The full paths in `rest` below `base`: `a::{b, c}` has two.
fn expand(base: &[String], rest: &str) -> Vec<Module> {
    if let Some(group) = rest.strip_prefix('{') {
        return top_level_paths(group)
            .iter()
            .flat_map(|path| expand(base, path))
            .collect();
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
    if name.is_empty() || name == "self" {
        return vec![base.to_vec()];
    }
    let mut path = base.to_vec();
    path.push(name.to_owned());
    match behind.strip_prefix("::") {
        Some(behind) => expand(&path, behind),
        None => vec![path],
    }
}

/// The file of a path: the longest part of it that is a file.
fn file_of(mut path: Module, modules: &BTreeSet<Module>) -> Option<Module> {
    while !path.is_empty() && !modules.contains(&path) {
        path.pop();
    }
    modules.contains(&path).then_some(path)
}

/// Whether one file reaches another by the files they name.
fn reaches(graph: &Graph, from: &Module, to: &Module) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            open.extend(graph.get(module).into_iter().flatten());
        }
    }
    false
}
