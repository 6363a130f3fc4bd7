//! `cargo xtask …`: set-up, build, test and demonstration, on a machine that has never seen the
//! project.
//!
//! Each step says what it does before it does it. It installs what is missing if a package manager
//! has it, and otherwise names it with the reason.

mod bench;
mod browser;
mod demo;
mod foreign;
mod fuzz;
mod guests;
mod interpreters;
mod jobs;
mod mutants;
mod peers;
mod process;
mod set_up;
mod storm;
mod test;
mod tools;
mod wasi_suite;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::process::say;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo          set up, build, start a host, run the examples and code on real data, stop
  test          set up, build and run the whole suite
  guests        build the example modules into target/guests
  peers         install what tests compare with and talk to: wasmtime, an MCP client, a
                generator of API clients, a server of buckets, a browser
  interpreters  build the Python and JavaScript modules into target/interpreters/modules
  bench NAME    measure beside peers; without a name it says which there are
  fuzz TARGET   give one of the fuzz targets inputs for five minutes, or --seconds N
  mutants       change the code in small ways and look whether a test notices; or mutants NAME…
  storm [workflows] N
                submit N tasks or workflows to three hosts that die, over a database that restarts
                while there are tasks, and check what they promise
  wasi-suite PATH  run the public tests of WASI 0.1, of which PATH is a checkout
";

fn main() -> ExitCode {
    if std::env::var_os(fuzz::COMPILES).is_some() {
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        return fuzz::compile(&arguments);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = root();
    let ended = match arguments.first().map(String::as_str) {
        Some("demo") => demo::run(&root),
        Some("test") => test::run(&root),
        Some("guests") => guests::build(&root),
        Some("peers") => peers::of_tests(&root),
        Some("interpreters") => interpreters::install(&root),
        Some("bench") => bench::run(&root, &arguments[1..]),
        Some("fuzz") => fuzz::run(&root, &arguments[1..]),
        Some("mutants") => mutants::run(&root, &arguments[1..]),
        Some("storm") => storm::run(&root, &arguments[1..]),
        Some("wasi-suite") => wasi_suite::run(&root, &arguments[1..]),
        // A part of the demonstration that is built beside the others.
        Some("build") => build(&root, &arguments[1..]),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds one thing that the demonstration needs.
fn build(root: &Path, what: &[String]) -> anyhow::Result<()> {
    match what.first().map(String::as_str) {
        Some("examples") => guests::build_soon(root),
        Some("python") => interpreters::build_python_module(root),
        Some("javascript") => interpreters::build_javascript_core(root).map(drop),
        _ => anyhow::bail!("usage: cargo xtask build examples|python|javascript"),
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("xtask is a folder of the repository")
        .to_owned()
}
