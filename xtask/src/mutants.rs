//! `cargo xtask mutants [NAME…]`: changes the code in small ways, one at a time, and looks whether a
//! test notices.
//!
//! What is changed are the rules that everything else relies on, each held against the tests of its
//! own crate. A change that no test can notice, because it changes nothing, is named in
//! `.cargo/mutants.toml` with the reason. It takes from minutes (`domain`) to an hour (`schema`).

use std::path::Path;

use anyhow::bail;

use crate::process::{run_with, say};
use crate::tools;

/// What is changed, and the tests that are to notice.
struct Selection {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// Of the package's tests, in the language of nextest.
    tests: &'static str,
}

const SELECTIONS: [Selection; 5] = [
    Selection {
        name: "domain",
        package: "cofferdam-domain",
        files: &["host/domain/src/**/*.rs"],
        tests: "all()",
    },
    Selection {
        name: "schema",
        package: "cofferdam",
        files: &[
            "host/core/src/registry/schema.rs",
            "host/core/src/registry/schema/**/*.rs",
        ],
        tests: "test(schema)",
    },
    Selection {
        name: "verdict",
        package: "cofferdam",
        files: &["host/core/src/queue/executor/verdict.rs"],
        tests: "test(verdict)",
    },
    Selection {
        name: "quota",
        package: "cofferdam-sandbox",
        files: &["host/sandbox/src/files/quota.rs"],
        tests: "test(files)",
    },
    Selection {
        name: "settle",
        package: "cofferdam-storage",
        files: &[
            "host/storage/src/fate.rs",
            "host/storage/src/sqlite/settle.rs",
        ],
        tests: "test(fate) + test(sqlite)",
    },
];

/// Runs the selections of these names, or all.
pub(crate) fn run(root: &Path, names: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| SELECTIONS.iter().all(|known| known.name != name.as_str()))
    {
        let known: Vec<&str> = SELECTIONS.iter().map(|known| known.name).collect();
        bail!("{unknown} is not one of {}", known.join(", "));
    }
    let mutants = tools::MUTANTS.get(root)?;
    let nextest = tools::NEXTEST.get(root)?;
    let mut survived = Vec::new();
    for selection in &SELECTIONS {
        if names.is_empty() || names.iter().any(|name| name == selection.name) {
            say(&format!("== {}", selection.name));
            if let Err(error) = one(root, &mutants, &nextest, selection) {
                say(&format!("{error:#}"));
                survived.push(selection.name);
            }
        }
    }
    if survived.is_empty() {
        return Ok(());
    }
    bail!("not every change was noticed in: {}", survived.join(", "))
}

fn one(root: &Path, mutants: &str, nextest: &str, selection: &Selection) -> anyhow::Result<()> {
    let output = format!("target/mutants/{}", selection.name);
    std::fs::create_dir_all(root.join(&output))?;
    let mut arguments = vec!["mutants", "--package", selection.package];
    for file in selection.files {
        arguments.extend(["--file", file]);
    }
    arguments.extend(["--test-tool", "nextest", "--jobs", "1", "--output", &output]);
    arguments.extend(["--colors", "never", "--no-shuffle"]);
    // Nothing is compiled that the tests do not need, and the first of them that fails is enough.
    arguments.push("--cargo-arg=--lib");
    arguments.extend(["--", "-E", selection.tests, "--max-fail", "1:immediate"]);
    let build = root.join("target/mutants/build");
    forget_ours(&build)?;
    let build = build.to_string_lossy().into_owned();
    let path = path_with(root, nextest);
    let environment = [
        ("CARGO_TARGET_DIR", build.as_str()),
        ("PATH", path.as_str()),
    ];
    run_with(root, mutants, &arguments, &environment)
}

/// Keeps compiled dependencies from one run to the next, but not our own crates: cargo would reuse a
/// mutant that an interrupted run compiled.
fn forget_ours(build: &Path) -> anyhow::Result<()> {
    let Ok(kept) = std::fs::read_dir(build.join("debug/.fingerprint")) else {
        return Ok(());
    };
    for entry in kept {
        let path = entry?.path();
        let is_ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("cofferdam");
        if path.file_name().is_some_and(is_ours) {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Where programs are looked for, first of all in the folder of the one that cargo is to find.
fn path_with(root: &Path, program: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    match root.join(program).parent() {
        Some(folder) if program.contains('/') => format!("{}:{path}", folder.display()),
        Some(_) | None => path,
    }
}
