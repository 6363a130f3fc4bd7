//! Tells the program which commit it was built from and which wasmtime it runs guests with, for
//! `cofferdam --version`.
//!
//! Builds without optimisation do not contain their commit, because each commit would then compile
//! the program again. Outside a checkout the commit is unknown, unless the build sets
//! `SOURCE_COMMIT`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_COMMIT");
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let lock = package
        .ancestors()
        .map(|folder| folder.join("Cargo.lock"))
        .find(|path| path.exists());
    let mut parts = Vec::new();
    if let Some(commit) = lock.as_deref().and_then(commit) {
        parts.push(format!("commit {commit}"));
    }
    if let Some(version) = lock.as_deref().and_then(wasmtime) {
        parts.push(format!("wasmtime {version}"));
    }
    println!("cargo::rustc-env=BUILT_FROM={}", parts.join(", "));
}

/// The commit, for an optimised build of a checkout.
fn commit(lock: &Path) -> Option<String> {
    if let Some(commit) = std::env::var("SOURCE_COMMIT")
        .ok()
        .filter(|it| !it.is_empty())
    {
        return Some(commit);
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    let root = lock.parent()?;
    // A repository in a folder above is a different project.
    if Path::new(&git(root, &["rev-parse", "--show-toplevel"])?) != root.canonicalize().ok()? {
        return None;
    }
    let head = git(root, &["rev-parse", "--symbolic-full-name", "HEAD"]);
    for name in ["HEAD", "index", "packed-refs"]
        .into_iter()
        .chain(head.as_deref())
    {
        if let Some(path) = git(root, &["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={}", root.join(path).display());
        }
    }
    git(
        root,
        &[
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ],
    )
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// The version of wasmtime in the lock file.
fn wasmtime(lock: &Path) -> Option<String> {
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = std::fs::read_to_string(lock).ok()?;
    let (_, after) = text.split_once("name = \"wasmtime\"\nversion = \"")?;
    let (version, _) = after.split_once('"')?;
    Some(version.to_owned())
}
