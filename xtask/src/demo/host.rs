//! The demonstration's host, and the program's own command line as its client. It prints what a
//! user would type and see.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, ensure};

use crate::process::say;

/// A running host; killed if this is dropped without [`Host::stop`].
pub(super) struct Host {
    child: Child,
    /// `http://ADDRESS:PORT`.
    pub(super) base: String,
    program: PathBuf,
}

impl Host {
    /// Starts the program of the profile `demo` on a free port.
    pub(super) fn start(root: &Path, data: &Path) -> anyhow::Result<Host> {
        let program = root.join("target/demo/cofferdam");
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            // Only the steps and warnings are shown.
            .env("COFFERDAM_LOG_LEVEL", "warn")
            // The program is not optimised, and the machine may be busy.
            .env("COFFERDAM_SANDBOX_COMPILE_TIMEOUT_MS", "300000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .context("the host did not start")?;
        Ok(Host {
            base: base.to_owned(),
            child,
            program,
        })
    }

    /// Runs a client command and shows it with what it prints.
    pub(super) fn cofferdam(&self, root: &Path, args: &[&str]) -> anyhow::Result<()> {
        let output = self.capture(root, args)?;
        say(&String::from_utf8_lossy(&output));
        Ok(())
    }

    /// Runs a client command and returns what it prints.
    pub(super) fn capture(&self, root: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = self.run(root, args)?;
        ensure!(output.status.success(), "it ended with {}", output.status);
        Ok(output.stdout)
    }

    /// Runs a client command that must fail.
    pub(super) fn refused(&self, root: &Path, args: &[&str]) -> anyhow::Result<()> {
        let output = self.run(root, args)?;
        let code = output.status.code();
        ensure!(code == Some(1), "it ended with {}", output.status);
        say("(exit code 1)\n");
        Ok(())
    }

    fn run(&self, root: &Path, args: &[&str]) -> anyhow::Result<Output> {
        let words: Vec<String> = args.iter().map(|word| quoted(word)).collect();
        say(&format!("$ cofferdam {}", words.join(" ")));
        Command::new(&self.program)
            .args(["--server", &self.base])
            .args(args)
            .current_dir(root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("{} cannot be started", self.program.display()))
    }

    /// Asks the host to end as an operator would, and waits.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success(),
            "kill failed"
        );
        let status = self.child.wait()?;
        ensure!(status.success(), "the host ended with {status}");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end.
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}

/// A word as one would type it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
