//! Holds the layers of ARCHITECTURE.md, file sizes, module docs and a few banned words.
//!
//! It reads text, so a re-export could fool it; there are none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::guests::root;

/// What each module of the host may import of ours, itself excepted. Reading order; an import
/// goes downwards only.
const LAYERS: &[(&str, &[&str])] = &[
    // The program started again to compile a module has no command line.
    ("main", &["cli", "sandbox"]),
    ("lib", &[]),
    (
        "cli",
        &[
            "app",
            "config",
            "telemetry",
            "sandbox",
            "runner",
            "threads",
            "domain",
            "clock",
        ],
    ),
    (
        "app",
        &[
            "sessions",
            "interpreters",
            "http",
            "mcp",
            "queue",
            "runner",
            "registry",
            "storage",
            "sandbox",
            "domain",
            "config",
            "telemetry",
            "threads",
            "shutdown",
            "clock",
        ],
    ),
    (
        "http",
        &[
            "sessions",
            "mcp",
            "executions",
            "interpreters",
            "queue",
            "runner",
            "registry",
            "storage",
            "domain",
            "config",
            "telemetry",
            "threads",
            "shutdown",
            "clock",
        ],
    ),
    (
        "mcp",
        &[
            "executions",
            "interpreters",
            "runner",
            "registry",
            "storage",
            "domain",
            "telemetry",
            "threads",
            "clock",
        ],
    ),
    (
        "executions",
        &["interpreters", "runner", "storage", "domain"],
    ),
    (
        "queue",
        &[
            "runner",
            "registry",
            "storage",
            "sandbox",
            "domain",
            "config",
            "telemetry",
            "threads",
            "shutdown",
            "clock",
        ],
    ),
    (
        "sessions",
        &[
            "runner",
            "interpreters",
            "sandbox",
            "domain",
            "config",
            "threads",
            "shutdown",
            "clock",
        ],
    ),
    (
        "runner",
        &[
            "interpreters",
            "registry",
            "sandbox",
            "domain",
            "config",
            "threads",
            "telemetry",
        ],
    ),
    (
        "interpreters",
        &["registry", "sandbox", "domain", "config", "shutdown"],
    ),
    (
        "registry",
        &[
            "storage",
            "sandbox",
            "domain",
            "config",
            "clock",
            "telemetry",
        ],
    ),
    ("storage", &["domain", "config"]),
    ("sandbox", &["domain", "config", "threads", "clock"]),
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("threads", &[]),
    ("shutdown", &[]),
    ("clock", &["domain"]),
];

/// Which crates only one module may name.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["sandbox"]),
    ("wasmtime_wasi", &["sandbox"]),
    ("rusqlite", &["storage"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("rmcp", &["mcp"]),
];

/// Crates that the pure layer may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "serde",
    "serde_json",
    "std::fs",
    "std::net",
    "std::env",
];

const FILE_LINES_MAX: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 200;

#[test]
fn imports_go_downwards_only() {
    let mut offences = Vec::new();
    for file in host_sources() {
        let module = module_of(&file);
        let allowed = LAYERS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no row in LAYERS"))
            .1;
        // The binary sees the library from outside.
        let prefix = if module == "main" {
            "cofferdam::"
        } else {
            "crate::"
        };
        for import in imports(&read(&file), prefix) {
            if import != module && !allowed.contains(&import.as_str()) {
                offences.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn each_engine_is_named_in_one_layer() {
    let mut offences = Vec::new();
    for file in host_sources() {
        let module = module_of(&file);
        let text = code_only(&read(&file));
        for (name, owners) in OWNED_CRATES {
            if !owners.contains(&module.as_str()) && names_crate(&text, name) {
                offences.push(format!("{} names {name}", file.display()));
            }
        }
        if module == "domain" {
            offences.extend(
                IMPURE
                    .iter()
                    .filter(|name| names_crate(&text, name))
                    .map(|name| format!("{} names {name}", file.display())),
            );
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn every_file_opens_with_its_purpose_and_ends_in_time() {
    let mut offences = Vec::new();
    for file in all_sources() {
        let text = read(&file);
        if !text.starts_with("//!") {
            offences.push(format!("{} has no module doc", file.display()));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            offences.push(format!("{} has {lines} lines", file.display()));
        }
        for banned in [
            "dbg!(",
            "todo!(",
            "unimplemented!(",
            "#[ignore",
            "TODO",
            "FIXME",
        ] {
            // This file has to name them.
            if text.contains(banned) && !file.ends_with("tests/it/tidy.rs") {
                offences.push(format!("{} says {banned}", file.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn every_guest_is_named_by_a_test() {
    let tests: String = all_sources()
        .iter()
        .filter(|file| !file.ends_with("tests/it/tidy.rs"))
        .map(|file| read(file))
        .collect();
    let guests = files_below(&root().join("tests/guests"), &["wat"]);
    assert!(!guests.is_empty());
    let unnamed: Vec<_> = guests
        .iter()
        .filter(|guest| !tests.contains(&*guest.file_name().expect("a file").to_string_lossy()))
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:#?}");
}

#[test]
fn the_architecture_names_every_module_and_stays_short() {
    let text = read(&root().join("ARCHITECTURE.md"));
    assert!(text.lines().count() <= ARCHITECTURE_LINES_MAX);
    for (module, _) in LAYERS {
        assert!(
            text.contains(&format!("`{module}")),
            "ARCHITECTURE.md does not name {module}"
        );
    }
}

fn host_sources() -> Vec<PathBuf> {
    files_below(&root().join("host/src"), &["rs"])
}

fn all_sources() -> Vec<PathBuf> {
    ["host", "guest-sdk", "examples", "xtask", "bench", "tests"]
        .iter()
        .flat_map(|folder| files_below(&root().join(folder), &["rs"]))
        .collect()
}

fn files_below(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder exists") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                // Built things, and code that is meant not to compile.
                if !path.ends_with("target") && !path.ends_with("ui") {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|x| e == *x))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The top-level module a file of `host/src` belongs to.
fn module_of(file: &Path) -> String {
    let relative = file
        .strip_prefix(root().join("host/src"))
        .expect("a file of the host");
    let first = relative
        .components()
        .next()
        .expect("a path")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules of ours that a file names, as `crate::x` or `crate::{x, y}`.
fn imports(text: &str, prefix: &str) -> BTreeSet<String> {
    let text = code_only(text);
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let boundary = text[..at].chars().next_back();
        if boundary.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level_names(group)),
            None => found.extend(name_at(rest)),
        }
    }
    found
}

/// The first names of a `{a::…, b}` group, without what nests deeper.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.extend(name_at(group[start..at].trim()));
                return names;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(name_at(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn name_at(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

fn names_crate(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The text without comments, so that documentation may name what code may not.
fn code_only(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect()
}
