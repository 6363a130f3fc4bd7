//! One PostgreSQL server with durable settings, for the benchmarks of what several hosts share.
//!
//! Its data is on the disk, because commits have to wait for it. It listens on a socket in a directory of
//! its own and is ended when it is dropped.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// PostgreSQL does not run as root; this user owns nothing.
const NOBODY: u32 = 65_534;
/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to end.
const STOP_MAX: Duration = Duration::from_secs(30);

/// `fsync` and `synchronous_commit` are on, as PostgreSQL has them; the rest is what an operator of a
/// machine of this size sets first.
pub(crate) const SETTINGS: &str = "
listen_addresses = ''
max_connections = 300
shared_buffers = 1GB
max_wal_size = 4GB
checkpoint_timeout = 15min
fsync = on
synchronous_commit = on
full_page_writes = on
";

/// A running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    folder: TempDir,
}

/// What a database has cost until a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) commits: f64,
    pub(crate) wal_bytes: f64,
}

impl Postgres {
    /// Makes a new server and starts it. `settings` are added to its own.
    pub(crate) fn start(settings: &str) -> anyhow::Result<Postgres> {
        let folder = TempDir::new()?;
        let user = rustix::process::getuid().is_root().then_some(NOBODY);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
        chown(folder.path(), user, user)?;
        let data = folder.path().join("data");
        let made = as_user(&programs()?.join("initdb"), user)
            .args(["-U", "cofferdam", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .context("initdb cannot be started")?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let file = data.join("postgresql.conf");
        let socket = format!("unix_socket_directories = '{}'\n", folder.path().display());
        let text = std::fs::read_to_string(&file)? + SETTINGS + settings + &socket;
        std::fs::write(&file, text)?;
        let log = File::create(folder.path().join("log"))?;
        let child = as_user(&programs()?.join("postgres"), user)
            .arg("-D")
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("postgres cannot be started")?;
        let server = Postgres { child, folder };
        server.await_answer()?;
        Ok(server)
    }

    fn await_answer(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.run("postgres", "SELECT 1").is_err() {
            if begun.elapsed() > START_MAX {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                bail!("PostgreSQL does not start: {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The URL of a new, empty database in place of the one before; what is dirty is written first, so that
    /// no measurement pays for another.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<String> {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        self.run("postgres", &drop)?;
        self.run("postgres", &format!("CREATE DATABASE {name}"))?;
        self.run("postgres", "CHECKPOINT")?;
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        Ok(format!("postgres://cofferdam@{socket}/{name}"))
    }

    /// Runs statements in a database and gives what they print: a row a line.
    pub(crate) fn run(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let output = self
            .psql(database)
            .args(["-c", sql])
            .output()
            .context("psql cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{sql}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A client of a database.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", "cofferdam", "-h"])
            .arg(self.folder.path())
            .arg(database);
        command
    }

    /// What a database has cost so far. Connections that are open have not told everything yet.
    pub(crate) fn cost(&self, database: &str) -> anyhow::Result<Cost> {
        let sql = format!(
            "SELECT xact_commit, pg_current_wal_insert_lsn() - '0/0'::pg_lsn
             FROM pg_stat_database WHERE datname = '{database}'"
        );
        let line = self.run("postgres", &sql)?;
        let (commits, wal) = line.split_once('|').context("no cost of a database")?;
        Ok(Cost {
            commits: commits.parse()?,
            wal_bytes: wal.parse()?,
        })
    }

    /// Its version.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        self.run("postgres", "SHOW server_version")
    }
}

impl Cost {
    /// Commits and bytes of WAL of each of so many tasks, since an earlier moment.
    pub(crate) fn since(self, before: Cost, tasks: f64) -> Cost {
        Cost {
            commits: (self.commits - before.commits) / tasks,
            wal_bytes: (self.wal_bytes - before.wal_bytes) / tasks,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It may have ended already.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _gone = self.child.kill();
        let _waited_for = self.child.wait();
    }
}

fn as_user(program: &Path, user: Option<u32>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

/// The directory of the server's programs, the newest if there are several.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort_unstable();
    let newest = found
        .pop()
        .context("Debian's package postgresql is missing")?;
    Ok(newest.1)
}
