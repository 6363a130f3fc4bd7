//! The example modules: compiled for WebAssembly into `target/guests`, one file a module.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::foreign;
use crate::process::run;
use crate::set_up;

/// The target of the guests.
const TARGET: &str = "wasm32-wasip2";
/// The second target of some guests: the older interface, which other toolchains still emit.
const OLDER_TARGET: &str = "wasm32-wasip1";

/// Builds the examples that are written in Rust with the profile `demo`: ready soon rather than
/// small.
pub(crate) fn build_soon(root: &Path) -> anyhow::Result<()> {
    let examples = root.join("examples");
    cargo(root, &examples, TARGET, "demo", &["--workspace"])?;
    Ok(())
}

/// Where [`build_soon`] puts them.
pub(crate) fn built_soon(root: &Path) -> PathBuf {
    root.join("target/examples").join(TARGET).join("demo")
}

/// Builds every example module.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let out = root.join("target/guests");
    std::fs::create_dir_all(&out)?;
    set_up::rust_targets(root, &[TARGET, OLDER_TARGET])?;
    build_rust(root, &out)?;
    foreign::build(root, &out)
}

fn build_rust(root: &Path, out: &Path) -> anyhow::Result<()> {
    let examples = root.join("examples");
    let built = cargo(root, &examples, TARGET, "release", &["--workspace"])?;
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
    // Commands whose results the tests compare with those of `wasmtime`.
    let built = cargo(
        root,
        &examples,
        OLDER_TARGET,
        "release",
        &["--package", "report"],
    )?;
    std::fs::copy(built.join("report.wasm"), out.join("report-wasip1.wasm"))?;
    for (target, name) in [
        (OLDER_TARGET, "probe-wasip1.wasm"),
        (TARGET, "probe-wasip2.wasm"),
    ] {
        let probe = root.join("tests/guests/probe");
        let built = cargo(root, &probe, target, "release", &[])?;
        std::fs::copy(built.join("probe.wasm"), out.join(name))?;
    }
    let diary = root.join("tests/guests/diary");
    let built = cargo(root, &diary, TARGET, "release", &[])?;
    std::fs::copy(built.join("diary.wasm"), out.join("diary.wasm"))?;
    Ok(())
}

/// Builds the guests in `folder`; returns the folder of the modules.
fn cargo(
    root: &Path,
    folder: &Path,
    target: &str,
    profile: &str,
    what: &[&str],
) -> anyhow::Result<PathBuf> {
    // Each workspace has its own folder, so that modules are not mistaken for those of another.
    let workspace = folder.file_name().expect("a folder has a name");
    let target_dir = root.join("target").join(workspace);
    let target_text = target_dir.to_string_lossy();
    let mut arguments = vec!["build", "--profile", profile, "--target", target];
    arguments.extend(["--target-dir", &*target_text]);
    arguments.extend(what);
    run(folder, "cargo", &arguments)?;
    Ok(target_dir.join(target).join(profile))
}
