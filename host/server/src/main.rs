//! The `cofferdam` program: a table of contents.

use std::process::ExitCode;

use clap::Parser;

use cofferdam_sandbox::{compile, processes};
use cofferdam_server::cli::Cli;

fn main() -> ExitCode {
    // The host starts itself again to compile a module, and to run guests; users do not use these
    // commands.
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    if first
        .as_ref()
        .is_some_and(|first| first == compile::COMMAND)
    {
        return compile::child_main(args);
    }
    if first.is_some_and(|first| first == processes::COMMAND) {
        return processes::child_main();
    }
    cofferdam_server::cli::main(Cli::parse())
}
