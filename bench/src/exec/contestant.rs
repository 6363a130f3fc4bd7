//! Who runs code: our host over HTTP, a program started for each execution, or a sandbox from PyPI
//! that a Python driver calls. All of them report how many executions finish in a time, and how
//! fast.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exec::script::Script;
use crate::host::Host;
use crate::place::Place;
use crate::stats::quantile;
use crate::wrk::{self, Load};

/// The measurements of one script in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) executions: u64,
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// Runs scripts.
pub(super) trait Contestant {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Whether it runs scripts of this language.
    fn speaks(&self, language: &str) -> bool;

    /// Whether one execution takes seconds, so that it is measured only once.
    fn is_slow(&self) -> bool {
        false
    }

    /// Runs a script over and over, with a given number at once.
    fn measure(&mut self, script: &Script, at_once: usize, seconds: u64) -> anyhow::Result<Seen>;
}

/// Our host.
pub(super) struct Ours<'a>(pub(super) &'a Host);

impl Contestant for Ours<'_> {
    fn name(&self) -> &'static str {
        "cofferdam /v1/exec"
    }

    fn speaks(&self, _language: &str) -> bool {
        true
    }

    fn measure(&mut self, script: &Script, at_once: usize, seconds: u64) -> anyhow::Result<Seen> {
        let body = script.request();
        let answer = self
            .0
            .client
            .post("/v1/exec", "application/json", body.as_bytes())?
            .json(&[200])?;
        ensure!(
            answer["status"] == "completed",
            "{} ended with {answer}",
            script.code
        );
        script.check(answer["stdout"].as_str().unwrap_or_default())?;
        let seen = wrk::run(&Load {
            url: self.0.client.url("/v1/exec"),
            content_type: "application/json",
            body: &body,
            connections: at_once,
            seconds,
            key: None,
        })?;
        ensure!(
            seen.errors == 0,
            "{} of {} executions failed",
            seen.errors,
            seen.requests
        );
        Ok(Seen {
            executions: seen.requests,
            per_second: seen.per_second,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
        })
    }
}

/// A program that is started for each execution, the code being its last argument.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) words: &'static [&'static str],
}

impl Program {
    fn execute(&self, code: &str) -> anyhow::Result<String> {
        let (program, arguments) = self.words.split_first().context("no program")?;
        let output = Command::new(program)
            .args(arguments)
            .arg(code)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{program} cannot be started"))?;
        ensure!(
            output.status.success(),
            "{program} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Microseconds of each execution, until the time is over.
    fn repeat(&self, code: &str, begun: Instant, duration: Duration) -> anyhow::Result<Vec<f64>> {
        let mut taken_us = Vec::new();
        while begun.elapsed() < duration {
            let before = Instant::now();
            self.execute(code)?;
            taken_us.push(before.elapsed().as_secs_f64() * 1e6);
        }
        Ok(taken_us)
    }
}

impl Contestant for Program {
    fn name(&self) -> &'static str {
        self.name
    }

    fn speaks(&self, language: &str) -> bool {
        self.language == language
    }

    fn measure(&mut self, script: &Script, at_once: usize, seconds: u64) -> anyhow::Result<Seen> {
        script.check(&self.execute(script.code)?)?;
        let (this, duration) = (&*self, Duration::from_secs(seconds));
        let begun = Instant::now();
        let taken_us = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..at_once)
                .map(|_| scope.spawn(|| this.repeat(script.code, begun, duration)))
                .collect();
            let mut all = Vec::new();
            for client in clients {
                all.extend(client.join().expect("a client does not panic")?);
            }
            anyhow::Ok(all)
        })?;
        summary(taken_us, begun.elapsed())
    }
}

/// A sandbox from PyPI, called by `bench/peers/sandboxes.py`, which is killed when this is dropped.
pub(super) struct Driver {
    sandbox: &'static str,
    is_slow: bool,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Driver {
    /// Starts the driver in its own folder: the sandboxes leave files where they run.
    pub(super) fn start(
        place: &Place,
        sandbox: &'static str,
        is_slow: bool,
    ) -> anyhow::Result<Driver> {
        let programs = place.file("target/peers-venv/bin")?;
        let folder = TempDir::new()?;
        let mut child = Command::new(programs.join("python3"))
            .arg(place.file("bench/peers/sandboxes.py")?)
            .arg(sandbox)
            .env("PATH", path_with(&programs)?)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the venv's python3 cannot be started")?;
        let requests = child.stdin.take().context("stdin is piped")?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut driver = Driver {
            sandbox,
            is_slow,
            child,
            requests,
            answers,
            _folder: folder,
        };
        driver
            .answer()
            .with_context(|| format!("{sandbox} is not installed"))?;
        Ok(driver)
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the driver of {} ended", self.sandbox);
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Contestant for Driver {
    fn name(&self) -> &'static str {
        self.sandbox
    }

    fn speaks(&self, _language: &str) -> bool {
        true
    }

    fn is_slow(&self) -> bool {
        self.is_slow
    }

    fn measure(&mut self, script: &Script, at_once: usize, seconds: u64) -> anyhow::Result<Seen> {
        let request = json!({
            "language": script.language,
            "code": script.code,
            "concurrency": at_once,
            "seconds": seconds,
        });
        writeln!(self.requests, "{request}")?;
        let answer = self.answer()?;
        script.check(answer["stdout"].as_str().unwrap_or_default())?;
        let taken_us = answer["latencies_us"]
            .as_array()
            .context("no latencies")?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        let elapsed_s = answer["elapsed_s"].as_f64().context("no elapsed_s")?;
        summary(taken_us, Duration::from_secs_f64(elapsed_s))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}

fn path_with(programs: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

fn summary(mut taken_us: Vec<f64>, elapsed: Duration) -> anyhow::Result<Seen> {
    ensure!(!taken_us.is_empty(), "nothing was executed");
    taken_us.sort_by(f64::total_cmp);
    let executions = taken_us.len() as u64;
    Ok(Seen {
        executions,
        per_second: executions as f64 / elapsed.as_secs_f64(),
        p50_us: quantile(&taken_us, 0.5),
        p99_us: quantile(&taken_us, 0.99),
    })
}
