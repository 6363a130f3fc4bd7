//! The `cofferdam` program: a table of contents.

use std::process::ExitCode;

use clap::Parser;

use cofferdam_sandbox::compile;
use cofferdam_server::cli::Cli;

fn main() -> ExitCode {
    // The host starts itself again to compile a module; users do not use this command.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == compile::COMMAND) {
        return compile::child_main(args);
    }
    cofferdam_server::cli::main(Cli::parse())
}
