//! The `cofferdam` program: a table of contents.

use std::process::ExitCode;

use clap::Parser;

use cofferdam::cli::Cli;

fn main() -> ExitCode {
    cofferdam::cli::main(Cli::parse())
}
