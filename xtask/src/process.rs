//! Running other programs, with their names in every error.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

/// Writes a line for people.
#[expect(clippy::print_stdout, reason = "this program's output is its purpose")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Runs a program in `folder` with its output shown; an error if it fails.
pub(crate) fn run(folder: &Path, program: &str, args: &[&str]) -> anyhow::Result<()> {
    run_with(folder, program, args, &[])
}

/// Like [`run`], with environment variables besides.
pub(crate) fn run_with(
    folder: &Path,
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> anyhow::Result<()> {
    say(&format!("$ {program} {}", args.join(" ")));
    let started = Instant::now();
    let status = command(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    ensure!(
        status.success(),
        "{program} {} ended with {status}",
        args.join(" ")
    );
    say(&format!("  ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs a program and gives its standard output; an error if it fails.
pub(crate) fn output(folder: &Path, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = command(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    ensure!(
        output.status.success(),
        "{program} {} ended with {}: {}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str, probe: &str) -> bool {
    Command::new(program)
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A program without what cargo tells of this crate to its own: build scripts that look at such variables
/// would be run again, and much be built again, whenever cargo is called by hand after this.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let told = name.to_str().unwrap_or_default();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
