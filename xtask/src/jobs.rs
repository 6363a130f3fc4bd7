//! Work that goes on beside other work: each job is this program again, with one of its commands.
//! It writes to its own file, so that outputs do not mix.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::say;

/// How often a job that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a long wait says that it goes on.
const SAY_EVERY: Duration = Duration::from_secs(20);
/// How many lines of a failed job's output are shown.
const TAIL_LINES: usize = 40;

/// A job that runs. It is ended if this is dropped before [`Job::wait`].
pub(crate) struct Job {
    what: &'static str,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Job {
    /// Starts this program with `arguments`; `what` names the job to people.
    pub(crate) fn start(
        root: &Path,
        what: &'static str,
        arguments: &[&str],
    ) -> anyhow::Result<Job> {
        let folder = root.join("target/xtask");
        std::fs::create_dir_all(&folder)?;
        let log = folder.join(format!("{}.log", arguments.join("-")));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let program = std::env::current_exe().context("the path of this program")?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{what} cannot be started"))?;
        say(&format!(
            "Meanwhile: {what} (output in {})",
            shown(root, &log)
        ));
        Ok(Job {
            what,
            child,
            log,
            started: Instant::now(),
        })
    }

    /// Waits for the end and says what it waits for; an error shows the end of the job's output.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        let status = match self.child.try_wait()? {
            Some(status) => status,
            None => {
                say(&format!("Waiting for: {}", self.what));
                self.await_end()?
            }
        };
        if !status.success() {
            say(&self.tail(TAIL_LINES));
            bail!(
                "{}: it ended with {status}; its whole output is in {}",
                self.what,
                self.log.display()
            );
        }
        say(&format!(
            "Done: {} ({:.0} s)",
            self.what,
            self.started.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn await_end(&mut self) -> anyhow::Result<ExitStatus> {
        let mut said = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                say(&format!(
                    "Still waiting for: {}; it says: {}",
                    self.what,
                    self.tail(1)
                ));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The last lines of what the job wrote.
    fn tail(&self, lines: usize) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The job's children end first: without the job nobody would know their parent.
        let _perhaps_absent = Command::new("pkill")
            .args(["-TERM", "-P", &self.child.id().to_string()])
            .status();
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
