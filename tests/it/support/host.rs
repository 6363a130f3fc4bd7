//! The real binary on a free port with its own data directory.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::Client;

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cofferdam"))
}

/// A running host. It is killed when this is dropped; its log is printed if the test failed.
pub(crate) struct Host {
    child: Child,
    pub(crate) client: Client,
    data: Arc<TempDir>,
    config: String,
    around: Around,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a host is started with besides its configuration.
#[derive(Clone, Debug, Default)]
struct Around {
    /// A limit on open files and connections.
    descriptors: Option<u32>,
    /// Variables of its environment.
    environment: Vec<(&'static str, String)>,
    /// Where it listens, if not on loopback.
    listen: Option<&'static str>,
}

/// How long a host may take to release resources: idle threads live for ten seconds.
const SETTLING: Duration = Duration::from_secs(25);

/// The resources of a host.
#[derive(Debug)]
pub(crate) struct Footprint {
    resident_kib: u64,
    threads: u64,
    descriptors: usize,
    /// Attempts' directories.
    scratch: usize,
}

impl Footprint {
    /// Attempts' directories.
    pub(crate) fn scratch(&self) -> usize {
        self.scratch
    }
}

/// How much a footprint may grow without being a leak.
#[derive(Debug)]
pub(crate) struct Slack {
    pub(crate) resident_kib: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: usize,
}

impl Default for Slack {
    fn default() -> Slack {
        Slack {
            resident_kib: 32 * 1024,
            threads: 2,
            descriptors: 8,
        }
    }
}

impl Host {
    /// Starts a host with the defaults.
    #[track_caller]
    pub(crate) fn start() -> Host {
        Host::with_config("")
    }

    /// Starts a host with this configuration file. Unless the file says otherwise there are no
    /// interpreters: compiling them at every start would cost each test seconds and disturb what it
    /// measures.
    #[track_caller]
    pub(crate) fn with_config(config: &str) -> Host {
        Host::with_environment(config, Vec::new())
    }

    /// The same with these variables in its environment.
    #[track_caller]
    pub(crate) fn with_environment(config: &str, environment: Vec<(&'static str, String)>) -> Host {
        let data = TempDir::new().expect("a temporary directory");
        let quiet = "[interpreters]\ndir = \"/nowhere\"\n";
        let rest = if config.contains("[interpreters]") {
            ""
        } else {
            quiet
        };
        let around = Around {
            environment,
            ..Around::default()
        };
        Host::open(Arc::new(data), &format!("{config}\n{rest}"), around)
    }

    /// The same for a host that listens on this address.
    #[track_caller]
    pub(crate) fn listening(listen: &'static str, config: &str) -> Host {
        let data = TempDir::new().expect("a temporary directory");
        let around = Around {
            listen: Some(listen),
            ..Around::default()
        };
        let config = format!("{config}\n[interpreters]\ndir = \"/nowhere\"\n");
        Host::open(Arc::new(data), &config, around)
    }

    /// The same for a host with a limit on open files and connections.
    #[track_caller]
    pub(crate) fn with_descriptors(descriptors: u32) -> Host {
        let data = TempDir::new().expect("a temporary directory");
        let config = "[interpreters]\ndir = \"/nowhere\"\n";
        let around = Around {
            descriptors: Some(descriptors),
            ..Around::default()
        };
        Host::open(Arc::new(data), config, around)
    }

    /// Starts a host over a data directory that was prepared.
    #[track_caller]
    pub(crate) fn over(data: TempDir, config: &str) -> Host {
        Host::open(Arc::new(data), config, Around::default())
    }

    #[track_caller]
    fn open(data: Arc<TempDir>, config: &str, around: Around) -> Host {
        std::fs::write(data.path().join("cofferdam.toml"), config).expect("a configuration file");
        let mut command = match around.descriptors {
            Some(most) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(program());
                shell
            }
            None => Command::new(program()),
        };
        // Tests of failures fail as often as they like, unless this is what they are about.
        if !config.contains("[breaker]") {
            command.env("COFFERDAM_BREAKER_THRESHOLD", "0");
        }
        let mut child = command
            .args(["serve", "--listen"])
            .arg(around.listen.unwrap_or("127.0.0.1:0"))
            .arg("--data")
            .arg(data.path())
            .envs(around.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = collect(
            child.stderr.take().expect("stderr is piped"),
            Arc::clone(&log),
        );
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout is readable");
        let Some(base) = line.trim().strip_prefix("listening on ") else {
            let status = child.wait().expect("the child can be waited for");
            stderr.join().expect("the reader ends with the child");
            let log = log.lock().expect("no reader panics");
            panic!("the host did not start ({status}): {line:?}\n{log}");
        };
        let client = Client::new(base.to_owned());
        let stdout = collect(stdout.into_inner(), Arc::clone(&log));
        Host {
            child,
            client,
            data,
            config: config.to_owned(),
            around,
            log,
            readers: vec![stderr, stdout],
        }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The host's log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the host can be killed");
        self.child.wait().expect("the host can be waited for");
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the host can be signalled");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP)
            .expect("the host can be signalled");
    }

    /// Waits until the log has this so often.
    #[track_caller]
    pub(crate) fn await_log(&self, text: &str, times: usize) {
        let deadline = Instant::now() + SETTLING;
        while self.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, then waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits for the end, after [`Host::terminate`].
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the host can be waited for")
    }

    /// Starts a host again over the same data, after [`Host::kill`] or [`Host::stop`].
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let next = Host::open(Arc::clone(&self.data), &self.config, self.around.clone());
        let previous = std::mem::replace(self, next);
        drop(previous);
    }

    /// The same with another configuration file.
    #[track_caller]
    pub(crate) fn restart_with(&mut self, config: &str) {
        config.clone_into(&mut self.config);
        self.restart();
    }

    /// The present resources of the host.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint {
            resident_kib: self.status("VmRSS"),
            threads: self.status("Threads"),
            descriptors: entries(&format!("/proc/{}/fd", self.pid()).into()).len(),
            scratch: attempts(&self.data().join("scratch"))
                .iter()
                .map(|attempt| entries(attempt).len())
                .sum(),
        }
    }

    /// The present memory of the host.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS") * 1024
    }

    /// A connection to the host, for data that no client would send.
    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let (_scheme, address) = self.client.base.split_once("://").expect("an address");
        let stream = TcpStream::connect(address).expect("the host listens");
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a time-out");
        stream
    }

    /// Waits until a run has directories, or none has.
    #[track_caller]
    pub(crate) fn await_scratch(&self, any: bool) {
        let deadline = Instant::now() + SETTLING;
        while (self.footprint().scratch > 0) != any {
            assert!(Instant::now() < deadline, "{:?}", self.footprint());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until this many runs have directories.
    #[track_caller]
    pub(crate) fn await_directories(&self, runs: usize) {
        let deadline = Instant::now() + SETTLING;
        while self.footprint().scratch != runs {
            assert!(Instant::now() < deadline, "{:?}", self.footprint());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the host uses no more than `before`, plus `slack`, and has no attempt's
    /// directory.
    #[track_caller]
    pub(crate) fn await_footprint(&self, before: &Footprint, slack: &Slack) {
        let deadline = Instant::now() + SETTLING;
        loop {
            let now = self.footprint();
            if now.resident_kib <= before.resident_kib + slack.resident_kib
                && now.threads <= before.threads + slack.threads
                && now.descriptors <= before.descriptors + slack.descriptors
                && now.scratch == 0
            {
                println!("before {before:?}\nnow    {now:?}");
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the host does not settle:\nbefore {before:?}\nnow    {now:?}\nslack  {slack:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A figure of `/proc/<pid>/status`, e.g. `VmRSS` in KiB.
    fn status(&self, field: &str) -> u64 {
        let path: PathBuf = format!("/proc/{}/status", self.pid()).into();
        let status = std::fs::read_to_string(path).expect("the host runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the field exists");
        line.split_whitespace()
            .nth(1)
            .expect("the field has a value")
            .parse()
            .expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have been killed or stopped by the test already.
        let _already_gone = self.child.kill();
        let _already_waited_for = self.child.wait();
        for reader in self.readers.drain(..) {
            let _panicked = reader.join();
        }
        if std::thread::panicking() {
            println!("--- the host's log\n{}", self.log());
        }
    }
}

/// The directories of attempts: those of the host, and those of the processes that its guests run in.
fn attempts(scratch: &PathBuf) -> Vec<PathBuf> {
    let (homes, mut attempts): (Vec<_>, Vec<_>) = entries(scratch)
        .into_iter()
        .partition(|entry| entry.join("runs").exists());
    let theirs = homes.iter().flat_map(|home| entries(&home.join("runs")));
    attempts.extend(theirs);
    attempts
}

/// The entries of a directory; none if it does not exist.
fn entries(folder: &PathBuf) -> Vec<PathBuf> {
    std::fs::read_dir(folder).map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().map(|entry| entry.path()).collect(),
    )
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = into.lock().expect("no other reader panics");
            log.push_str(&line);
            log.push('\n');
        }
    })
}
