//! `cargo xtask …`: set-up, build, test and demonstration, on a machine that has never seen the
//! project.
//!
//! Each step says what it does before it does it. What is missing and can be had by package name
//! is installed; what cannot is named, with the reason.

mod bench;
mod demo;
mod foreign;
mod guests;
mod interpreters;
mod peers;
mod process;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::process::say;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo          set up, build, start a host, run the examples on real data, stop
  test          set up, build and run the whole suite
  guests        build the example modules into target/guests
  peers         install what tests compare with and talk to: wasmtime, an MCP client
  interpreters  build the Python and JavaScript modules into target/interpreters/modules
  bench NAME    measure beside peers: run, queue, start, busy, hostile or exec
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let root = root();
    let ended = match command.as_deref() {
        Some("demo") => demo::run(&root),
        Some("test") => test::run(&root),
        Some("guests") => guests::build(&root),
        Some("peers") => peers::of_tests(&root),
        Some("interpreters") => interpreters::install(&root),
        Some("bench") => bench::run(&root, &std::env::args().skip(2).collect::<Vec<_>>()),
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

/// The repository's root.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("xtask stands in the repository")
        .to_owned()
}
