//! The command line: the commands and their options.
//!
//! `serve` and `run` are the host itself. The client commands use the HTTP API like any other
//! client; `exec` uses the same API of a host inside this process if no server is named.

mod audit;
mod backup;
mod client;
mod code;
mod exec;
mod health;
mod key;
mod live;
mod module;
mod output;
mod outward;
mod run;
mod schedule;
mod secret;
mod serve;
mod session;
mod stop;
mod task;
mod tenant;
mod told;
mod units;
mod warm_up;
mod worker;
mod workflow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::app;
use crate::cli::client::{Client, ClientError};

/// The version, with the commit if it is known, and wasmtime's version (`build.rs`).
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_FROM"), ")");

/// The meaning of exit codes, shown below the help.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the task failed, or the server refused
  2  the command line or the configuration makes no sense
  3  the server could not be reached
run and exec end with the guest's own exit code where it chose one.";

/// The server of the client commands if none is named.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// A host for untrusted WebAssembly tasks.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version = VERSION, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Print the API's answer as JSON; a list is one object per line.
    #[arg(long, global = true)]
    json: bool,
    /// The server that the client commands talk to [default: http://127.0.0.1:8080]. Without it
    /// exec runs the code here.
    #[arg(long, global = true, env = "COFFERDAM_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The key that the client commands send.
    #[arg(
        long,
        global = true,
        env = "COFFERDAM_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<String>,
    /// The authorities that the client commands trust, as a PEM file; those of the web if absent.
    #[arg(long, global = true, env = "COFFERDAM_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and run tasks from the queue.
    Serve(serve::Serve),
    /// Run one module here, without a server.
    Run(Box<run::Run>),
    /// Run Python or JavaScript code: here, or on the server that --server names.
    Exec(Box<exec::Exec>),
    /// Upload, list, fetch and remove modules.
    #[command(subcommand)]
    Module(module::Module),
    /// Submit, inspect and control tasks.
    #[command(subcommand)]
    Task(task::Task),
    /// Keep an interpreter with its variables and files between calls.
    #[command(subcommand)]
    Session(session::Session),
    /// Make, list, rotate and revoke keys.
    #[command(subcommand)]
    Key(key::Key),
    /// Say what holds for those who share a server.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Keep, list and forget what the server uses for you and shows to nobody.
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Have tasks submitted again and again.
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Submit, follow and control tasks that wait for each other.
    #[command(subcommand)]
    Workflow(workflow::Workflow),
    /// List the hosts that share the server's storage, and ask one to take no more tasks.
    #[command(subcommand)]
    Worker(worker::Worker),
    /// List what was changed, by whom, and check that nobody tampered with that list.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Ask whether the server is ready: exit code 0 if it is, 1 if it is not.
    Health,
    /// Check a configuration; print the effective values or every mistake.
    CheckConfig(serve::ConfigSource),
    /// Copy a data directory, whether a host is using it or not.
    Backup(backup::Backup),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The task or the request failed.
const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is invalid.
const EXIT_USAGE: u8 = 2;
/// The server could not be reached.
const EXIT_UNREACHABLE: u8 = 3;

/// Runs the command and returns how it ended.
pub fn main(cli: Cli) -> ExitCode {
    let json = cli.json;
    let ended = dispatch(cli);
    ended.unwrap_or_else(|error| {
        if let Some(ClientError::Refused { body, .. }) = error.downcast_ref()
            && json
        {
            output::bytes(body);
            output::bytes(b"\n");
        }
        output::complain(&error);
        exit_code(&error)
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let (json, named) = (cli.json, cli.server.as_deref());
    let client = || {
        let server = named.unwrap_or(DEFAULT_SERVER);
        Client::new(server, cli.api_key.clone(), cli.ca.as_deref())
    };
    match cli.command {
        Command::Serve(command) => serve::serve(&command),
        Command::CheckConfig(source) => serve::check_config(&source),
        Command::Run(command) => run::run(*command, json),
        Command::Exec(command) => {
            let server = named.map(|_named| client()).transpose()?;
            exec::run(&command, server, json)
        }
        Command::Module(command) => module::run(command, &client()?, json),
        Command::Task(command) => task::run(command, &client()?, json),
        Command::Session(command) => session::run(command, &client()?, json),
        Command::Key(command) => key::run(&command, &client()?, json),
        Command::Tenant(command) => tenant::run(&command, &client()?, json),
        Command::Secret(command) => secret::run(&command, &client()?, json),
        Command::Schedule(command) => schedule::run(&command, &client()?, json),
        Command::Workflow(command) => workflow::run(&command, &client()?, json),
        Command::Worker(command) => worker::run(&command, &client()?, json),
        Command::Audit(command) => audit::run(&command, client, json),
        Command::Health => health::run(&client()?, json),
        Command::Backup(command) => backup::run(&command),
        Command::Completions { shell } => {
            let (mut cli, mut stdout) = (Cli::command(), std::io::stdout());
            clap_complete::generate(shell, &mut cli, "cofferdam", &mut stdout);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A mistake of the user; ends with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        return ExitCode::from(EXIT_USAGE);
    }
    if error.is::<app::Interrupted>() {
        return ExitCode::from(app::EXIT_INTERRUPTED);
    }
    match error.downcast_ref::<ClientError>() {
        Some(
            ClientError::Unreachable { .. }
            | ClientError::Untrusted { .. }
            | ClientError::Broken { .. },
        ) => ExitCode::from(EXIT_UNREACHABLE),
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
