//! The example modules: compiled for WebAssembly into `target/guests`, one file a module.

use std::path::Path;

use anyhow::Context;

use crate::foreign;
use crate::process::{output, run, say};

/// What the guests are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// Builds every example module.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let out = root.join("target/guests");
    std::fs::create_dir_all(&out)?;
    add_target(root)?;
    build_rust(root, &out)?;
    foreign::build(root, &out)
}

/// Adds the WebAssembly target to the toolchain if it lacks it.
fn add_target(root: &Path) -> anyhow::Result<()> {
    let installed = output(root, "rustup", &["target", "list", "--installed"])?;
    if installed.lines().any(|line| line.trim() == TARGET) {
        return Ok(());
    }
    say(&format!("The Rust toolchain lacks {TARGET}; adding it."));
    run(root, "rustup", &["target", "add", TARGET])
}

fn build_rust(root: &Path, out: &Path) -> anyhow::Result<()> {
    let target_dir = root.join("target/examples");
    let target_text = target_dir.to_string_lossy();
    run(
        &root.join("examples"),
        "cargo",
        &[
            "build",
            "--release",
            "--target",
            TARGET,
            "--target-dir",
            &target_text,
        ],
    )?;
    let built = target_dir.join(TARGET).join("release");
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
    Ok(())
}
