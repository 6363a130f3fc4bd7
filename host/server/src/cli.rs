//! The command line: what can be said, and where each command goes.
//!
//! `serve` and `run` are the host itself; `exec`, `module` and `task` are a client of the HTTP API like
//! any other and know nothing that it does not tell.

mod client;
mod exec;
mod module;
mod output;
mod run;
mod serve;
mod task;
mod units;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::client::{Client, ClientError};

/// A host for untrusted WebAssembly tasks.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, propagate_version = true)]
pub struct Cli {
    /// Print what the API returned, as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// The host that the client commands talk to.
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    server: String,
    /// The key that the client commands show.
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and work off the queue.
    Serve(serve::Serve),
    /// Run one module here, without a server.
    Run(Box<run::Run>),
    /// Run Python or JavaScript code on a server.
    Exec(Box<exec::Exec>),
    /// Upload, list and remove modules.
    #[command(subcommand)]
    Module(module::Module),
    /// Submit tasks and look after them.
    #[command(subcommand)]
    Task(task::Task),
    /// Check a configuration and print the effective values.
    CheckConfig(serve::ConfigSource),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The task, or what was asked of the server, failed.
const EXIT_FAILED: u8 = 1;
/// The command line or the configuration makes no sense.
const EXIT_USAGE: u8 = 2;
/// The server could not be reached.
const EXIT_UNREACHABLE: u8 = 3;

/// Runs the command and says how it ended: 0 done, 1 the task failed, 2 usage, 3 no server.
pub fn main(cli: Cli) -> ExitCode {
    let client = || Client::new(&cli.server, cli.api_key.clone());
    let ended = match cli.command {
        Command::Serve(command) => serve::serve(&command),
        Command::CheckConfig(source) => serve::check_config(&source),
        Command::Run(command) => run::run(*command, cli.json),
        Command::Exec(command) => {
            client().and_then(|client| exec::run(&command, &client, cli.json))
        }
        Command::Module(command) => {
            client().and_then(|client| module::run(command, &client, cli.json))
        }
        Command::Task(command) => client().and_then(|client| task::run(command, &client, cli.json)),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "cofferdam",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
    };
    ended.unwrap_or_else(|error| {
        if let Some(ClientError::Refused { body, .. }) = error.downcast_ref()
            && cli.json
        {
            output::bytes(body);
            output::bytes(b"\n");
        }
        output::complain(&error);
        exit_code(&error)
    })
}

/// Something the user said that cannot be done; ends with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        return ExitCode::from(EXIT_USAGE);
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. }) => ExitCode::from(EXIT_UNREACHABLE),
        Some(ClientError::Refused { .. }) | None => ExitCode::from(EXIT_FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
