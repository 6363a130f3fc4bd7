//! The places of the programs, guests and peers. `cargo xtask bench` puts them there; an error here
//! names a missing one.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The repository and its build output.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
    host: PathBuf,
}

impl Place {
    /// This repository; `host` names another program than the one built here.
    pub(crate) fn new(host: Option<PathBuf>) -> Place {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package
            .parent()
            .expect("bench is a folder of the repository");
        Place {
            host: host.unwrap_or_else(|| root.join("target/release/cofferdam")),
            root: root.to_owned(),
        }
    }

    /// The host under test.
    pub(crate) fn host(&self) -> anyhow::Result<PathBuf> {
        present(self.host.clone())
    }

    /// A program of this package.
    pub(crate) fn sibling(&self, name: &str) -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe().context("this program has no path")?;
        present(own.with_file_name(name))
    }

    /// An example module.
    pub(crate) fn guest(&self, name: &str) -> anyhow::Result<PathBuf> {
        present(self.root.join(format!("target/guests/{name}.wasm")))
    }

    /// A file of the repository or of its build output.
    pub(crate) fn file(&self, path: &str) -> anyhow::Result<PathBuf> {
        present(self.root.join(path))
    }

    /// The `wasmtime` program from its wheel.
    pub(crate) fn wasmtime(&self) -> anyhow::Result<PathBuf> {
        let library = self.file("target/peers-venv/lib")?;
        let versions = std::fs::read_dir(&library)?.collect::<Result<Vec<_>, _>>()?;
        versions
            .iter()
            .map(|version| version.path().join("site-packages/wasmtime_cli/wasmtime"))
            .find(|program| program.exists())
            .with_context(|| format!("no wasmtime below {}; {HINT}", library.display()))
    }

    /// Where the results are recorded.
    pub(crate) fn results(&self) -> PathBuf {
        self.root.join("bench/RESULTS.md")
    }
}

const HINT: &str = "cargo xtask bench builds and installs what is needed";

fn present(path: PathBuf) -> anyhow::Result<PathBuf> {
    ensure!(path.exists(), "{} does not exist; {HINT}", path.display());
    Ok(path)
}
