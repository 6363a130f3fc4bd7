//! A server under test: a child process that says where it listens. It is killed when it is
//! dropped, so that nothing outlives a benchmark, however that ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Pid;
use tempfile::TempDir;

/// How long a server may take to say where it listens: it may have to compile something.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(40);
/// How often a starting server's output is read; far below the measured times.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// `/proc` counts processor time in these; on Linux, user space always sees this value.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    base: String,
    output: PathBuf,
    started: Instant,
    _folder: TempDir,
}

impl Server {
    /// Starts a program and waits until it has written its address, the word after `marker`.
    pub(crate) fn start(mut command: Command, marker: &str) -> anyhow::Result<Server> {
        let folder = TempDir::new()?;
        let output = folder.path().join("output");
        let log = File::create(&output)?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let mut server = Server {
            child,
            base: String::new(),
            output,
            started,
            _folder: folder,
        };
        server.base = server.await_address(marker)?;
        Ok(server)
    }

    fn await_address(&mut self, marker: &str) -> anyhow::Result<String> {
        while self.started.elapsed() < START_MAX {
            let output = self.output();
            if let Some((_, rest)) = output.split_once(marker)
                && let Some((address, _)) = rest.split_once('\n')
            {
                return Ok(address.trim().trim_end_matches('/').to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once ({status}):\n{output}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("no address after {START_MAX:?}:\n{}", self.output())
    }

    /// `http://ADDRESS:PORT`, or with `https`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// All it wrote so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read(&self.output)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Processor seconds of all its threads so far.
    pub(crate) fn cpu_s(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may contain anything; user and system time are the twelfth and
        // thirteenth field after it.
        let (_, after_name) = stat.rsplit_once(')').context("no name in /proc/…/stat")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let user = ticks(11).context("no user time in /proc/…/stat")?;
        let system = ticks(12).context("no system time in /proc/…/stat")?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// A figure of `/proc/…/smaps_rollup`, in MB, of it and of its processes together.
    fn memory_mb(&self, field: &str) -> anyhow::Result<f64> {
        let of = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let mut kib = figure_kib(&of(self.child.id())?, field)?;
        for child in self.children()? {
            // One that has ended meanwhile has no memory.
            if let Ok(figures) = of(child.as_raw_pid().unsigned_abs()) {
                kib += figure_kib(&figures, field).unwrap_or_default();
            }
        }
        Ok(kib * 1024.0 / 1e6)
    }

    /// The memory that it has: all of a page that it has alone, and its share of others.
    pub(crate) fn resident_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("Pss")
    }

    /// The memory that is in no file.
    pub(crate) fn anonymous_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("Anonymous")
    }

    /// The processes that it started and that live.
    pub(crate) fn children(&self) -> anyhow::Result<Vec<Pid>> {
        let mut children = Vec::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that has ended meanwhile has none.
            let text = std::fs::read_to_string(thread?.path().join("children"));
            let pids = text.unwrap_or_default();
            let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
            children.extend(pids.filter_map(Pid::from_raw));
        }
        Ok(children)
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Asks it to end and waits for that.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "the server ended with {status}:\n{}",
                    self.output()
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("the server did not end within {STOP_MAX:?} of SIGTERM")
    }
}

/// A figure of `/proc/…/smaps_rollup` that is given in KiB.
fn figure_kib(figures: &str, field: &str) -> anyhow::Result<f64> {
    figures
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok())
        .with_context(|| format!("no {field} in /proc/…/smaps_rollup"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}
