//! One PostgreSQL server with durable settings, for the benchmarks of what several hosts share.
//!
//! Its data is on the disk, because commits have to wait for it. It is started and ended as the tests' own
//! servers are.

use std::process::Command;

use anyhow::{Context, ensure};
use cofferdam_test_postgres::Server;

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
wal_level = replica
max_wal_senders = 10
";

/// A running server.
pub(crate) struct Postgres(Server);

/// What a database has cost until a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) commits: f64,
    pub(crate) wal_bytes: f64,
}

impl Postgres {
    /// Makes a new server and starts it. `settings` are added to its own.
    pub(crate) fn start(settings: &str) -> Postgres {
        Postgres(Server::below(
            &std::env::temp_dir(),
            &format!("{SETTINGS}{settings}"),
        ))
    }

    /// The URL of a new, empty database in place of the one before; what is dirty is written first, so that
    /// no measurement pays for another.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<String> {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        self.run("postgres", &drop)?;
        self.run("postgres", &format!("CREATE DATABASE {name}"))?;
        self.run("postgres", "CHECKPOINT")?;
        let socket = self.0.socket().display().to_string().replace('/', "%2F");
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
            .arg(self.0.socket())
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
