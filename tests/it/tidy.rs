//! Checks the layers of ARCHITECTURE.md, file sizes, module docs and a few banned words.
//!
//! It reads text, so a re-export could mislead it; the code has no re-exports across layers.

mod circles;
mod imports;
mod layers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::imports::{code_only, imports, names_crate, top_level_paths};
use self::layers::LAYERS;
use crate::support::guests::root;

/// The crates of the host, outermost first, and the names that code uses for them.
const CRATES: &[(&str, &str)] = &[
    ("server", "cofferdam_server"),
    ("core", "cofferdam"),
    ("storage", "cofferdam_storage"),
    ("sandbox", "cofferdam_sandbox"),
    ("trees", "cofferdam_trees"),
    ("domain", "cofferdam_domain"),
];

/// The crates that only one module may name.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["sandbox"]),
    ("wasmtime_wasi", &["sandbox"]),
    ("rusqlite", &["storage"]),
    ("tokio_postgres", &["storage"]),
    ("object_store", &["storage"]),
    ("axum", &["http"]),
    // A guest's requests go out where they are checked.
    ("hyper", &["http", "sandbox"]),
    ("hyper_util", &["http", "sandbox"]),
    ("hickory_resolver", &["sandbox"]),
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
const ARCHITECTURE_LINES_MAX: usize = 250;

#[test]
fn imports_go_downwards_only() {
    let mut offences = Vec::new();
    for file in host_sources() {
        let (krate, layer) = layer_of(&file);
        // The roots only declare modules.
        if layer == "lib" {
            continue;
        }
        let allowed = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("{layer} has no row in LAYERS"))
            .1;
        for import in layers_named(&read(&file), &krate) {
            if import != layer && !allowed.contains(&import.as_str()) {
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
        let (_, module) = layer_of(&file);
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
            // This file must name them.
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
fn every_fuzz_target_has_a_corpus_a_short_run_and_a_long_one() {
    let fuzz = root().join("fuzz");
    let stem = |path: &PathBuf| {
        let stem = path.file_stem().expect("a file has a name");
        stem.to_string_lossy().into_owned()
    };
    let corpora = std::fs::read_dir(fuzz.join("corpus")).expect("the folder exists");
    let corpora = corpora.map(|entry| stem(&entry.expect("it is readable").path()));
    let corpora: BTreeSet<String> = corpora.collect();
    let long_runs = files_below(&fuzz.join("fuzz_targets"), &["rs"]);
    let long_runs: BTreeSet<String> = long_runs.iter().map(stem).collect();
    assert_eq!(corpora, long_runs);
    let manifest = read(&fuzz.join("Cargo.toml"));
    let sources: String = host_sources().iter().map(|file| read(file)).collect();
    for target in &corpora {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        let short_runs = ["short_run", "short_run_of"].map(|run| format!("{run}(\"{target}\""));
        let has_one = short_runs.iter().any(|run| sources.contains(run));
        assert!(has_one, "no test runs {target}");
    }
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

/// The host's sources, without build scripts.
fn host_sources() -> Vec<PathBuf> {
    let mut files = files_below(&root().join("host"), &["rs"]);
    files.retain(|file| !file.ends_with("build.rs"));
    files
}

fn all_sources() -> Vec<PathBuf> {
    [
        "host",
        "guest-sdk",
        "examples",
        "xtask",
        "bench",
        "fuzz",
        "tests",
    ]
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
                // Build output, and code that must not compile.
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

/// The crate of a host's file and its layer: a top-level module of `server` and `core`, the whole
/// crate elsewhere, with the clock and the threads as separate layers.
fn layer_of(file: &Path) -> (String, String) {
    let relative = file
        .strip_prefix(root().join("host"))
        .expect("a file of the host");
    let mut parts = relative
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let krate = parts.next().expect("a crate");
    let module = parts.nth(1).expect("a file below src");
    let layer = layer(&krate, module.trim_end_matches(".rs"));
    (krate, layer)
}

/// The layer of a crate's top-level module.
fn layer(krate: &str, module: &str) -> String {
    match (krate, module) {
        ("sandbox", "threads") | ("domain", "clock") => module.to_owned(),
        ("domain" | "sandbox" | "storage" | "trees", _) => krate.to_owned(),
        _ => module.to_owned(),
    }
}

/// The layers that a file of `krate` names.
fn layers_named(text: &str, krate: &str) -> BTreeSet<String> {
    let own = imports(text, "crate::")
        .into_iter()
        .filter(|name| krate == "server" || krate == "core" || layer(krate, name) != krate)
        .map(|name| layer(krate, &name));
    let others = CRATES.iter().flat_map(|(other, name)| {
        imports(text, &format!("{name}::"))
            .into_iter()
            .map(|module| layer(other, &module))
    });
    own.chain(others).collect()
}
