//! The example modules: compiled for WebAssembly into `target/guests`, one file a module.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::foreign;
use crate::process::{output, run, say};

/// What the guests are compiled for.
const TARGET: &str = "wasm32-wasip2";
/// What some are compiled for besides: the older interface, which other toolchains still emit.
const OLDER_TARGET: &str = "wasm32-wasip1";

/// Builds every example module.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let out = root.join("target/guests");
    std::fs::create_dir_all(&out)?;
    add_target(root)?;
    build_rust(root, &out)?;
    foreign::build(root, &out)
}

/// Adds the WebAssembly targets to the toolchain if it lacks them.
fn add_target(root: &Path) -> anyhow::Result<()> {
    let installed = output(root, "rustup", &["target", "list", "--installed"])?;
    for target in [TARGET, OLDER_TARGET] {
        if !installed.lines().any(|line| line.trim() == target) {
            say(&format!("The Rust toolchain lacks {target}; adding it."));
            run(root, "rustup", &["target", "add", target])?;
        }
    }
    Ok(())
}

fn build_rust(root: &Path, out: &Path) -> anyhow::Result<()> {
    let examples = root.join("examples");
    let built = cargo(root, &examples, TARGET, &["--workspace"])?;
    for entry in std::fs::read_dir(&built).with_context(|| format!("{}", built.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let name = path
                .file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .replace('_', "-");
            std::fs::copy(&path, out.join(name))?;
        }
    }
    // Commands that the tests compare with what `wasmtime` makes of them.
    let built = cargo(root, &examples, OLDER_TARGET, &["--package", "report"])?;
    std::fs::copy(built.join("report.wasm"), out.join("report-wasip1.wasm"))?;
    for (target, name) in [
        (OLDER_TARGET, "probe-wasip1.wasm"),
        (TARGET, "probe-wasip2.wasm"),
    ] {
        let built = cargo(root, &root.join("tests/guests/probe"), target, &[])?;
        std::fs::copy(built.join("probe.wasm"), out.join(name))?;
    }
    Ok(())
}

/// Builds what `folder` holds in release; gives where the modules are.
fn cargo(root: &Path, folder: &Path, target: &str, what: &[&str]) -> anyhow::Result<PathBuf> {
    // One a workspace, so that the modules of one are not taken for those of another.
    let workspace = folder.file_name().expect("a folder has a name");
    let target_dir = root.join("target").join(workspace);
    let target_text = target_dir.to_string_lossy();
    let mut arguments = vec!["build", "--release", "--target", target];
    arguments.extend(["--target-dir", &*target_text]);
    arguments.extend(what);
    run(folder, "cargo", &arguments)?;
    Ok(target_dir.join(target).join("release"))
}
